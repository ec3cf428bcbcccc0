#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the program `faults`: failing steps of a checkpoint by injection, by
RLIMIT_FSIZE, and by a full file system (a small tmpfs; needs root); failing steps of
epochs on nodes, by turns with and without the shared folder as a level. Of the latter a
part that TEST_SEED draws; --long: all."""
import os
import random
import re
import subprocess

from common import Driver


def run(driver, faults, mode, folder, *more, ranks=2, **settings):
    os.makedirs(folder, exist_ok=True)
    env = driver.environment(RECTO_QUIET="1", **settings)
    code, out, err = driver.mpirun(ranks, [faults, mode, folder] + list(more), env,
                                   timeout=7200 if driver.args.long else 900)
    driver.check(code == 0, mode, out + err[-4000:])
    print("%s: %s" % (mode, out.strip()), flush=True)
    done = re.match(r"(\d+) cases", out)
    driver.cases += int(done.group(1)) if done else 0


def levels(driver, faults):
    """Three nodes: of two ranks, of two, and of one."""
    if driver.args.nodes:
        print("levels: left out, nodes are domains here")
        return
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print("TEST_SEED=%d" % seed, flush=True)
    share = "1" if driver.args.long else "20"
    for name, chosen in (("shared", "partner:1,set:2,shared:4"),
                         ("nodes", "partner:1,set:2")):
        seed += 1
        folder = driver.path("levels-" + name)
        run(driver, faults, "levels", folder, share, str(seed), ranks=5, RECTO_NODE="2", RECTO_CKPT_LEVELS=chosen, RECTO_CKPT_SET="2+1",
            RECTO_CKPT_LOCAL=folder + "/inject.n%d")


def small_file_system(driver, faults):
    if driver.args.nodes:
        print("space: left out, nodes do not see what is mounted here")
        return
    folder = driver.path("tmpfs")
    os.mkdir(folder)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "recto",
                           folder], capture_output=True, check=False)
    if made.returncode != 0:
        print("space: left out, cannot mount a tmpfs: %s" %
              made.stderr.decode().strip())
        return
    try:
        run(driver, faults, "space", folder)
    finally:
        subprocess.run(["umount", folder], check=False)


def main():
    driver = Driver(__doc__)
    faults = driver.program("faults")
    more = ["long"] if driver.args.long else []
    run(driver, faults, "inject", driver.path("inject"), *more)
    run(driver, faults, "limit", driver.path("limit"))
    small_file_system(driver, faults)
    levels(driver, faults)
    driver.end()


main()
