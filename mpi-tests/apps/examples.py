#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""examples.py RANKS | restart | lines

The examples find their own answers right, in C and in Fortran, on so many ranks; the one
with checkpoints goes on after a rank was killed, and differs from the program that it was
made of by the lines that it says.
"""
import difflib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from common import BIN, MPIRUN, WORK, Run, fresh, has

SOURCE = pathlib.Path(os.environ["TEST_SOURCE"]) / "apps" / "examples"
LANGUAGES = [""] + ["_fortran"] * has("examples/hello_fortran")
APART = {"RECTO_NODE": "rank", "RECTO_TRANSPORT": "mpi"}
STEPS = 5000


def check(ranks):
    for suffix in LANGUAGES:
        for name in ["hello", "shared_array", "lock", "task_queue"]:
            env = APART if ranks == 3 else {}
            Run(ranks, f"examples/{name}{suffix}", **env).expect(0, "ok")
        before = Run(ranks, f"examples/checkpoint_before{suffix}")
        folder = {"RECTO_CKPT_DIR": str(WORK / f"ckpt{suffix}")}
        after = Run(ranks, f"examples/checkpoint{suffix}", **folder)
        if before.expect(0, "from step 0").text != after.expect(0).text:
            sys.exit(f"{before.text}is not\n{after.text}")
        # there is nothing left to do
        Run(ranks, f"examples/checkpoint{suffix}", **folder).expect(
            0, "from step 1000", "ok")


def ranks_of(program):
    """Its processes, in this test's folder."""
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (os.readlink(process / "exe") == str(program)
                    and os.readlink(process / "cwd") == str(WORK / "run")):
                yield int(process.name)
        except OSError:  # it is gone, or another's
            pass


def killed(program, folder):
    """A run of which a rank is killed after its second epoch."""
    job = subprocess.Popen([MPIRUN, str(WORK / "run"), "3", str(program), str(STEPS)],
                           env={**os.environ, "RECTO_CKPT_DIR": str(folder)},
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while len(list(folder.glob("e*.h5"))) + len(list(folder.glob("e*.log"))) < 2:
        if job.poll() is not None or time.monotonic() > end:
            job.kill()
            sys.exit(f"{program}: no epochs")
        time.sleep(0.01)
    os.kill(max(ranks_of(program)), signal.SIGKILL)
    if job.wait(60) == 0:
        sys.exit(f"{program}: the job did not notice")


def restart():
    for suffix in LANGUAGES:
        folder = WORK / f"ckpt{suffix}"
        killed((BIN / f"examples/checkpoint{suffix}").resolve(), folder)
        again = Run(3, f"examples/checkpoint{suffix}", STEPS, RECTO_CKPT_DIR=str(folder))
        step = int(again.expect(0, f"after {STEPS} steps: ok").find(r"from step (\d+)"))
        print(f"went on from step {step}")
        if step == 0 or step % 100 != 0 or step == STEPS:
            sys.exit(again.text)


def code_of(name):
    """Its lines, without the comment at the top and the program's name."""
    lines = (SOURCE / name).read_text().splitlines()
    begin = next(i for i, l in enumerate(lines) if re.match(r" \*/|program ", l))
    return lines[begin + 1:]


def lines():
    for ending, changed in [("c", 2), ("f90", 4)]:  # as the comments and README.md say
        diff = list(difflib.ndiff(code_of(f"checkpoint_before.{ending}"),
                                  code_of(f"checkpoint.{ending}")))
        gone = sum(l.startswith("- ") for l in diff)
        come = sum(l.startswith("+ ") for l in diff)
        if (gone, come) != (changed, changed + 5):
            sys.exit("\n".join(diff))


fresh()
if sys.argv[1] == "restart":
    restart()
elif sys.argv[1] == "lines":
    lines()
else:
    check(int(sys.argv[1]))
