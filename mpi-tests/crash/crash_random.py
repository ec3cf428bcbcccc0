#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that a job whose rank is killed (SIGKILL) at a random moment restarts
from an epoch at least as new as the last one it reported as written, with
exactly that epoch's memory. Each job restarts from what the one before left;
folders of 2, 3 and 4 ranks, with one domain, one for each rank and two, take
turns. The moment is random over start, restart, computing and checkpoints,
differential and full."""
import os
import shutil
import time

from common import Driver, seed_option


class Folder:
    def __init__(self, driver, ranks, node):
        self.node = node  # RECTO_NODE
        self.path = driver.path("ckpt%d" % ranks)
        self.ranks = ranks
        self.step = -1  # the last one reported as written
        self.jobs = 0


def pids_of(folder, pids, process):
    """The ranks' pids once all have left them, or None if the job ended."""
    end = time.time() + 60
    while time.time() < end and process.poll() is None:
        found = []
        for rank in range(folder.ranks):
            try:
                with open(os.path.join(pids, str(rank)),
                          encoding="utf-8") as file:
                    found.append(int(file.read()))
            except (FileNotFoundError, ValueError):
                break
        if len(found) == folder.ranks:
            return found
        time.sleep(0.005)
    return None


def one(driver, victim, folder, number, rng):
    pids = driver.path("pids")
    shutil.rmtree(pids, ignore_errors=True)
    os.mkdir(pids)
    env = driver.environment(folder.path, RECTO_CKPT_FULL="4",
                             RECTO_NODE=folder.node, RECTO_TEST_PIDS=pids)
    process = driver.start(folder.ranks, [victim, "run", "100000", "3"], env)
    ranks = pids_of(folder, pids, process)
    what = "kill %d (%d ranks)" % (number, folder.ranks)
    if ranks:
        time.sleep(rng.uniform(0, 0.5))
        rank = rng.randrange(folder.ranks)
        driver.kill(rank, ranks[rank])
    code, out, err = driver.finish(process, 60)
    detail = out[-600:] + err[-3000:]
    if code in (0, -1) or not ranks or driver.is_wrong(err):
        driver.check(False, what, detail)
        return
    lines = [line.split() for line in out.splitlines()]
    restored = [int(w[2]) for w in lines if w[0] in ("restored", "fresh")]
    written = [int(w[2]) for w in lines if w[0] == "written"]
    # A checkpoint in flight may have been committed without being reported.
    good = not restored or folder.step <= restored[0] <= folder.step + 1
    driver.check(good, what, "restored %s after %d was written\n%s" % (
        restored, folder.step, detail))
    folder.step = max([folder.step] + restored + written)
    folder.jobs += 1


def options(parser):
    parser.add_argument("--kills", type=int, default=100)
    seed_option(parser)


def main():
    driver = Driver(__doc__, options)
    victim = driver.program("victim")
    rng = driver.random()
    folders = [Folder(driver, 2, "auto"), Folder(driver, 3, "rank"),
               Folder(driver, 4, "2")]
    kills = driver.args.kills * (10 if driver.args.long else 1)
    for number in range(kills):
        one(driver, victim, folders[number % 3], number, rng)
    for folder in folders:
        code, out, err = driver.mpirun(folder.ranks, [victim, "run", "1"],
                                       driver.environment(folder.path))
        driver.check(code == 0, "last restart of %d ranks" % folder.ranks,
                     out + err)
        code, out, err = driver.recto("verify", folder.path)
        driver.check(code == 0, "recto verify of %d ranks" % folder.ranks,
                     out + err)
        driver.check(not driver.strays(folder.path), "no files left behind",
                     str(driver.strays(folder.path)))
        print("%d ranks: %d kills, %d steps" % (folder.ranks, folder.jobs,
                                                folder.step + 1))
    driver.end()


main()
