#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Submits the scripts of docs/slurm, which users copy, to a real Slurm on several nodes,
and shows what that section of docs/clusters.md promises: heat2d ends with the right
answer, going on from a checkpoint,

plain     on 1 and 2 ranks a node, started by srun
spare     after a crash of a node in use: at once, on the spare node
first     after a crash of the node with the job's script: queued again
down      after `scontrol update state=down`: queued again
continue  in as many jobs as the time limit makes of it

and leaves nothing behind. `continue` runs beside the others."""
import argparse
import filecmp
import os
import random
import re
import shutil
import subprocess
import sys
import time

from nodes import SOURCE
from slurm import Failure, Slurm

BUILD = os.environ.get("TEST_BUILD", str(SOURCE / "build" / "debug"))
FAKE = os.environ.get("FAKE", "")
HEAT2D = os.path.join(BUILD, "bin", "heat2d")
STEPS = 200
CASES = ("plain", "spare", "first", "down")


def check(condition, what, detail=""):
    if not condition:
        raise Failure("%s\n%s" % (what, detail) if detail else what)
    print("ok   %6.1f s  %s" % (time.time() - STARTED, what), flush=True)


def script(slurm, name, **changed):
    """A copy of docs/slurm/NAME.sh with other values on its #SBATCH lines."""
    text = (SOURCE / "docs" / "slurm" / (name + ".sh")).read_text()
    for option, value in changed.items():
        text, n = re.subn(r"(?m)^(#SBATCH --%s=).*" % option, r"\g<1>" + value, text)
        check(n == 1, "%s.sh has a line for --%s" % (name, option))
    path = slurm.work / (name + ".sh")
    path.write_text(text)
    return path


def submit(slurm, path, name, options, slow, *more):
    """A heat2d of its own checkpoint folder: the job's number."""
    slurm.env["RECTO_CKPT_DIR"] = str(slurm.work / (name + ".ckpt"))
    return slurm.sbatch(path, HEAT2D, "--input", "rock.h5", "--steps", str(STEPS),
                        "--checkpoint-every", "10", "--progress", "log",
                        "--slow", str(slow), "--output", name + ".h5", *more,
                        options=options, name=name)


def epochs(slurm, name):
    """How many checkpoints the job's output reports."""
    return len(re.findall(r"is on disk as epoch", slurm.output(name)))


def computing(slurm, number, name):
    """Waits until the job has written some checkpoints; its nodes, the one with
    the script first."""
    def wrote():
        check_running(slurm, number, name)
        return epochs(slurm, name) >= 3
    slurm.wait("checkpoints of " + name, wrote)
    nodes = slurm.nodes_of(number)
    return nodes


def check_running(slurm, number, name):
    state = slurm.job(number)["JobState"]
    if state not in ("PENDING", "RUNNING", "CONFIGURING"):
        raise Failure("job %d (%s) is %s too early" % (number, name, state))


def good_end(slurm, number, name, restarted=True):
    """The job ends well with the answer of an undisturbed run."""
    job = slurm.end_of(number, 180)
    check(job["JobState"] == "COMPLETED" and job["ExitCode"] == "0:0",
          "%s: job %d completed" % (name, number), str(job))
    answer = slurm.work / (name + ".h5")
    check(answer.exists() and filecmp.cmp(slurm.work / "plain.h5", answer, False),
          "%s: the answer of an undisturbed run" % name)
    if restarted:
        check("restarted from epoch" in slurm.output(name),
              "%s: it went on from a checkpoint" % name)
    return job


def clean(slurm, name):
    """No process of a job, and nothing in /dev/shm, on any node."""
    slurm.wait("%s leaves nothing: %s" % (name, slurm.leftovers()),
               lambda: not slurm.leftovers(), 60)


def plain(slurm):
    number = submit(slurm, script(slurm, "plain"), "plain",
                    ("-N3", "--ntasks-per-node=1"), 0, "--check")
    job = slurm.end_of(number)
    check(job["JobState"] == "COMPLETED", "plain: 3 nodes", str(job))
    check("3 ranks in 3 coherence domains" in slurm.output("plain"),
          "plain: each rank on a node of its own")
    number = submit(slurm, script(slurm, "plain"), "two",
                    ("-N2", "--ntasks-per-node=2"), 0)
    good_end(slurm, number, "two", restarted=False)
    check("4 ranks in 2 coherence domains" in slurm.output("two"),
          "plain: two ranks on each node")


def spare(slurm, how="crash"):
    number = submit(slurm, script(slurm, "spare"), "spare",
                    ("-N3", "--ntasks-per-node=1"), 50000)
    nodes = computing(slurm, number, "spare")
    used = [n for n in nodes if any(HEAT2D in p for p in slurm.processes(n))]
    check(len(used) == 2, "spare: two of three nodes compute", "%s" % used)
    victim = [n for n in used if n != nodes[0]][0]
    before = epochs(slurm, "spare")
    slurm.script(how, victim)
    begin = time.time()
    slurm.wait("spare: computes again", lambda:
               "restarted from epoch" in slurm.output("spare"))
    print("     spare: %s of %s after %d checkpoints; computes again %.1f s later" % (
        how, victim, before, time.time() - begin), flush=True)
    job = good_end(slurm, number, "spare")
    check(job["Restarts"] == "0", "spare: within the job")
    slurm.script("heal" if how == "cut" else "start", victim)
    slurm.idle(nodes)


def first(slurm):
    number = submit(slurm, script(slurm, "spare"), "first",
                    ("-N3", "--ntasks-per-node=1"), 50000)
    nodes = computing(slurm, number, "first")
    slurm.crash(nodes[0])
    begin = time.time()
    slurm.requeued(number)
    slurm.start(nodes[0])
    print("     first: crash of %s; queued again %.1f s later" % (
        nodes[0], time.time() - begin), flush=True)
    job = good_end(slurm, number, "first")
    check(job["Restarts"] == "1", "first: by Slurm", str(job))
    slurm.idle(nodes)


def down(slurm):
    number = submit(slurm, script(slurm, "plain"), "down",
                    ("-N3", "--ntasks-per-node=1"), 50000)
    nodes = computing(slurm, number, "down")
    victim = random.choice(nodes)
    slurm.head("scontrol", "update", "nodename=" + victim, "state=down", "reason=test")
    slurm.requeued(number)
    slurm.head("scontrol", "update", "nodename=" + victim, "state=resume")
    job = good_end(slurm, number, "down")
    check(job["Restarts"] == "1", "down: by Slurm", str(job))
    slurm.idle(nodes)


def continue_begin(slurm):
    """Slow enough for 40 s: a limit of a minute, of which Slurm tells at once or up
    to 30 s later."""
    path = script(slurm, "continue", time="1", signal="B:USR1@55")
    return submit(slurm, path, "continue", ("-N2", "--ntasks-per-node=1"), 200000)


def continue_end(slurm, number):
    numbers = []
    while number not in numbers:
        numbers.append(number)
        job = slurm.end_of(number, 180)
        check(job["JobState"] == "COMPLETED",
              "continue: job %d completed" % number, str(job))
        number = slurm.jobs("continue")[-1]
    check(len(numbers) > 1, "continue: in %d jobs" % len(numbers))
    good_end(slurm, numbers[-1], "continue")
    restarts = slurm.output("continue").count("restarted from epoch")
    check(restarts == len(numbers) - 1, "continue: each job but the first goes on")


def left(root):
    """Processes that name the cluster's folder, and mounts in it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                words = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if root in words and int(pid) != os.getpid():
            found.append("process %s: %s" % (pid, words[:100]))
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        found += ["mount " + line for line in mounts if root in line]
    return found


def run(slurm, args):
    subprocess.run([os.path.join(BUILD, "bin", "heat2d-input"),
                    slurm.work / "rock.h5"], check=True, stdout=subprocess.DEVNULL)
    cases = [c for c in args.cases.split(",") if c != "continue"]
    other = continue_begin(slurm) if "continue" in args.cases.split(",") else None
    for number in range(args.rounds):
        for name in cases:
            globals()[name](slurm)
            clean(slurm, name)
            if number + 1 < args.rounds:
                for path in slurm.work.glob("*.ckpt"):
                    if path.stem != "continue":
                        shutil.rmtree(path)
                for path in slurm.work.glob("*.out"):
                    if path.stem != "continue":
                        path.unlink()
    if other:
        continue_end(slurm, other)
        clean(slurm, "continue")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES + ("continue",)))
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    wrong = None
    with Slurm(5, PATH="%s%s:%s" % (FAKE, os.path.join(BUILD, "bin"), os.environ["PATH"])) as slurm:
        root = str(slurm.root)
        try:
            run(slurm, args)
        except (Failure, subprocess.TimeoutExpired) as failure:
            wrong = "%s\n%s" % (failure, slurm.report())
    end = time.time() + 20
    while left(root) and time.time() < end:
        time.sleep(0.2)
    if not wrong and left(root):
        wrong = "left behind: %s" % left(root)
    if wrong:
        sys.exit("FAIL %s" % wrong)
    print("ok   %6.1f s  nothing is left" % (time.time() - STARTED))


STARTED = time.time()
main()
