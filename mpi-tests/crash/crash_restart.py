#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that shared memory restarts on other numbers of ranks, domains and
transports than wrote it; that private memory on other numbers of ranks, of
other sizes or types is refused on every rank with a message that names it; and
that a folder in use is refused to a second job and free after the first one's
death."""
import os
import time

from common import Driver, seed_option


def other_ranks(driver, shapes, rng):
    """One folder, written and read by ever other jobs."""
    folder = driver.path("shared")
    step = -1
    jobs = [(n, node, transport) for n in (1, 2, 3, 4, 7)
            for node in ("auto", "rank", "2") for transport in ("auto", "mpi")]
    rng.shuffle(jobs)
    for ranks, node, transport in jobs[:None if driver.args.long else 14]:
        steps = rng.choice((1, 2, 3))
        code, out, err = driver.mpirun(
            ranks, [shapes, "shared", str(steps)],
            driver.environment(folder, RECTO_NODE=node, RECTO_CKPT_FULL="5",
                               RECTO_TRANSPORT=transport))
        what = "%d ranks, RECTO_NODE=%s, RECTO_TRANSPORT=%s" % (
            ranks, node, transport)
        driver.check(code == 0 and out.split() == [str(step + steps)], what,
                     out + err)
        step += steps
    code, out, err = driver.recto("verify", folder)
    driver.check(code == 0, "recto verify", out + err)


def same_everywhere(driver, ranks, command, folder, what, *parts):
    """Every rank prints the same verdict, with the parts in it."""
    code, out, err = driver.mpirun(ranks, command, driver.environment(folder))
    lines = set(out.splitlines())
    driver.check(code == 0 and len(lines) == 1 and
                 all(p in out for p in parts), what, out + err)


def refusals(driver, victim, shapes):
    folder = driver.path("private")
    code, out, err = driver.mpirun(2, [victim, "run", "2"],
                                   driver.environment(folder))
    driver.check(code == 0, "epochs of 2 ranks", out + err)
    same_everywhere(driver, 3, [shapes, "private"], folder,
                    "private memory on 3 ranks", "RECTO_ECHANGED",
                    "written by 2 ranks, this job has 3", '"clock/step"',
                    '"private/r01"')
    same_everywhere(driver, 3, [shapes, "sizes"], driver.path("sizes"),
                    "other sizes of the ranks", "RECTO_ECHANGED",
                    '"v" of rank 0 has 10 float64 in epoch 0, the program '
                    'protects 12')
    same_everywhere(driver, 3, [shapes, "types"], driver.path("types"),
                    "other types on the ranks", "RECTO_EMISMATCH",
                    '"v" is float64 on rank 0 and float32 on rank 1')
    code, out, err = driver.mpirun(2, [victim, "run", "1"],
                                   driver.environment(folder))
    driver.check(code == 0 and "restored 1 1" in out, "2 ranks again",
                 out + err)


def in_use(driver, victim, shapes):
    folder = driver.path("used")
    pids = driver.path("pids")
    os.mkdir(pids)
    first = driver.start(2, [victim, "run", "100000", "2"],
                         driver.environment(folder, RECTO_TEST_PIDS=pids))
    end = time.time() + 60
    while not os.path.exists(os.path.join(folder, "manifest")) and \
            time.time() < end:
        time.sleep(0.05)
    with open(os.path.join(pids, "0"), encoding="utf-8") as file:
        pid = file.read().strip()
    same_everywhere(driver, 2, [shapes, "private"], folder,
                    "a folder in use", "RECTO_ELOCKED", "process " + pid)
    code, out, err = driver.recto("ls", folder)
    driver.check(code in (0, 1), "recto ls of a folder in use", out + err)
    driver.kill(0, int(pid))
    driver.finish(first)
    code, out, err = driver.mpirun(2, [victim, "run", "1"],
                                   driver.environment(folder))
    driver.check(code == 0 and "restored" in out, "after the holder's death",
                 out + err)


def main():
    driver = Driver(__doc__, seed_option)
    victim = driver.program("victim")
    shapes = driver.program("shapes")
    other_ranks(driver, shapes, driver.random())
    refusals(driver, victim, shapes)
    in_use(driver, victim, shapes)
    driver.end()


main()
