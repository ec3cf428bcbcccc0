#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the program `churn`: an epoch is exactly the memory at its call, whatever the
program does while it is written.

In turn over ranks, domains, transports and back ends; with the buffer as it is by
default and so small that those who write must wait; with a disk that takes its time;
and with the program standing still, as a check of the test itself."""
import itertools

from common import Driver

SLOW = "label=data-write,hit=0,do=slow"
QUICK = [
    # ranks, RECTO_NODE, RECTO_TRANSPORT, RECTO_VM, buffer, RECTO_INJECT, mode
    (1, "auto", "auto", "auto", "64K", SLOW, "concurrent"),
    (2, "auto", "auto", "mprotect", "64K", "", "concurrent"),
    (2, "rank", "mpi", "auto", "", SLOW, "concurrent"),
    (3, "2", "auto", "auto", "64K", SLOW, "concurrent"),
    (4, "rank", "auto", "auto", "1M", "", "concurrent"),
    (4, "rank", "mpi", "mprotect", "64K", SLOW, "concurrent"),
    (4, "2", "mpi", "auto", "64K", "", "concurrent"),
    (2, "rank", "auto", "auto", "", "", "sync"),
]


def every():
    return itertools.product((1, 2, 3, 4, 6), ("auto", "rank", "2"), ("auto", "mpi"),
                             ("auto", "mprotect"), ("", "64K"), ("", SLOW),
                             ("concurrent",))


def run(driver, churn, number, case):
    ranks, node, transport, vm, buffer, inject, mode = case
    more = {"RECTO_NODE": node, "RECTO_TRANSPORT": transport, "RECTO_VM": vm,
            "RECTO_INJECT": inject, "RECTO_CKPT_MODE": mode}
    if vm == "mprotect":
        more["RECTO_DIRTY"] = "fault"
    if buffer:
        more["RECTO_CKPT_BUFFER"] = buffer
    what = "%d ranks, " % ranks + " ".join(
        "%s=%s" % (name[6:], value) for name, value in more.items() if value)
    env = driver.environment(driver.path("churn%d" % number), RECTO_QUIET="1", **more)
    code, out, err = driver.mpirun(ranks, [churn, "4"], env, timeout=300)
    driver.check(code == 0 and "passed: churn" in out, what, out + err[-4000:])


def main():
    driver = Driver(__doc__)
    churn = driver.program("churn")
    for number, case in enumerate(every() if driver.args.long else QUICK):
        run(driver, churn, number, case)
    driver.end()


main()
