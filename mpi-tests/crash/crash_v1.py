#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that the epochs in data/epoch-v1, written when format 1 was new, still
restore, each of the three, and that today's epochs of that program do too.
After a deliberate change of the format: --write FOLDER makes a new set, to be
kept beside the old one."""
import os
import shutil

import manifest
from common import Driver


def options(parser):
    parser.add_argument("--write", metavar="FOLDER",
                        help="write the epochs there, and no test")


def read_all(driver, program, source):
    """Restores the newest epoch; then takes its file away, and again."""
    epochs = manifest.read(source)
    for gone in range(len(epochs)):
        folder = driver.path("copy%d" % gone)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        for epoch in epochs[len(epochs) - gone:]:
            os.unlink(os.path.join(folder, epoch.file))
        want = epochs[len(epochs) - 1 - gone].number
        code, out, err = driver.mpirun(2, [program, "read"],
                                       driver.environment(folder))
        driver.check(code == 0 and out.strip() == "epoch %d" % want,
                     "epoch %d of %s" % (want, source), out + err)


def main():
    driver = Driver(__doc__, options)
    program = driver.program("v1")
    today = driver.args.write or driver.path("today")
    code, out, err = driver.mpirun(2, [program, "write"],
                                   driver.environment(today))
    driver.check(code == 0, "writing", out + err)
    if not driver.args.write:
        here = os.path.dirname(os.path.abspath(__file__))
        kept = os.path.join(here, "..", "data", "epoch-v1")
        code, out, err = driver.recto("verify", kept)
        driver.check(code == 0, "recto verify", out + err)
        read_all(driver, program, kept)
        read_all(driver, program, today)
    driver.end()


main()
