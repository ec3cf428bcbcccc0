#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that the epochs in data/epoch-v1, data/epoch-v2 (its log packed) and
data/epoch-v3 (its second full epoch packed, too), written when these formats were new,
still restore, each of the three, also when the present Recto has gone on in their
folder; and that today's epochs of that program do too. After a deliberate change of
the format: --write FOLDER makes a new set, to be kept beside the old one."""
import os
import shutil

import manifest
from common import Driver


def options(parser):
    parser.add_argument("--write", metavar="FOLDER",
                        help="write the epochs there, and no test")


def read_all(driver, program, source, words):
    """Restores the newest epoch; then takes its file away, and again."""
    epochs = manifest.read(source)
    for gone in range(len(epochs)):
        folder = driver.path("copy%d" % gone)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        for epoch in epochs[len(epochs) - gone:]:
            os.unlink(os.path.join(folder, epoch.file))
        want = epochs[len(epochs) - 1 - gone].number
        code, out, err = driver.mpirun(2, [program, "read", *words],
                                       driver.environment(folder))
        driver.check(code == 0 and out.strip() == "epoch %d" % want,
                     "epoch %d of %s" % (want, source), out + err)


def go_on(driver, program, source, words):
    """The command writes a manifest of today's format and a new file."""
    folder = driver.path("further")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    code, out, err = driver.recto("compact", folder)
    driver.check(code == 0, "recto compact of " + source, out + err)
    read_all(driver, program, folder, words)


def main():
    driver = Driver(__doc__, options)
    program = driver.program("v1")
    today = driver.args.write or driver.path("today")
    env = driver.environment(today, RECTO_CKPT_COMPRESS="zstd")
    code, out, err = driver.mpirun(2, [program, "write", "large"], env)
    driver.check(code == 0, "writing", out + err)
    code, out, err = driver.recto("compact", today, "1", "--deflate")
    driver.check(code == 0 and "compressed now" in out, "compressing", out + err)
    if not driver.args.write:
        here = os.path.dirname(os.path.abspath(__file__))
        for name, words in (("epoch-v1", []), ("epoch-v2", []), ("epoch-v3", ["large"])):
            kept = os.path.join(here, "..", "data", name)
            code, out, err = driver.recto("verify", kept)
            driver.check(code == 0, "recto verify", out + err)
            read_all(driver, program, kept, words)
            go_on(driver, program, kept, words)
        read_all(driver, program, today, ["large"])
    driver.end()


main()
