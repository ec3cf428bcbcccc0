#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the program `faults`: failing steps of a checkpoint by injection, by
RLIMIT_FSIZE, and by a full file system (a small tmpfs; needs root)."""
import os
import re
import subprocess

from common import Driver


def run(driver, faults, mode, folder, *more):
    os.makedirs(folder, exist_ok=True)
    env = driver.environment(RECTO_QUIET="1")
    code, out, err = driver.mpirun(2, [faults, mode, folder] + list(more), env,
                                   timeout=900)
    driver.check(code == 0, mode, out + err[-4000:])
    print("%s: %s" % (mode, out.strip()), flush=True)
    done = re.match(r"(\d+) cases", out)
    driver.cases += int(done.group(1)) if done else 0


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
    driver.end()


main()
