#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Submits the scripts of docs/slurm, which users copy, to a real Slurm on several nodes,
and shows what docs/clusters.md says of them: heat2d ends with the right answer, going
on from a checkpoint,

plain    started by srun, on 1 and 2 ranks a node
spare    after a crash of a node in use: at once, on the spare node
first    after a crash of the node with the job's script: queued again
node     after a crash of another node, without a spare one: queued again
down     after `scontrol update state=down`: queued again
taken    the same with a spare node: at once
further  in as many jobs as the time limit makes of it

with --long also spare2, spare with 2 ranks a node; cut, with a node that nobody reaches
any more; few, when fewer nodes are left than the job needs. Nothing is left behind."""
import argparse
import concurrent.futures
import filecmp
import os
import random
import re
import subprocess
import sys
import threading
import time

from nodes import LIMIT, SOURCE, Failure, skip, wait_for
from slurm import Slurm

BUILD = os.environ.get("TEST_BUILD", str(SOURCE / "build" / "debug"))
HEAT2D = os.path.join(BUILD, "bin", "heat2d")
STEPS = 120
NODES = 12    # of which a job has 2 or 3
SLOW = 100000  # microseconds that a step takes at least: time to crash something
ANSWER = threading.Event()  # the one of the case plain is there


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
    made = slurm.work / ("%s.sh.%d" % (name, threading.get_ident()))
    made.write_text(text)
    os.replace(made, path) # another case may be submitting it
    return path


def submit(slurm, path, name, options, slow, *more):
    """A heat2d of its own checkpoint folder: the job's number."""
    return slurm.sbatch(path, HEAT2D, "--input", "rock.h5", "--steps", str(STEPS),
                        "--checkpoint-every", "5", "--progress", "log",
                        "--slow", str(slow), "--output", name + ".h5", *more,
                        options=options, name=name,
                        RECTO_CKPT_DIR=str(slurm.work / (name + ".ckpt")))


def epochs(slurm, name):
    """How many checkpoints the job's output reports."""
    return len(re.findall(r"is on disk as epoch", slurm.output(name)))


def computing(slurm, number, name):
    """Waits until the job has written some checkpoints; its nodes, the one with
    the script first."""
    def wrote():
        state = slurm.job(number)["JobState"]
        if state not in ("PENDING", "RUNNING", "CONFIGURING"):
            raise Failure("%s: job %d is %s too early" % (name, number, state))
        return epochs(slurm, name) >= 3
    wait_for("checkpoints of " + name, wrote)
    return slurm.nodes_of(number)


def good_end(slurm, number, name):
    """The job ends well with the answer of an undisturbed run."""
    job = slurm.end_of(number)
    check(job["JobState"] == "COMPLETED" and job["ExitCode"] == "0:0",
          "%s: job %d completed" % (name, number), str(job))
    if name != "plain" and not ANSWER.wait(LIMIT):
        raise Failure("%s: no answer of an undisturbed run to compare with" % name)
    answer = slurm.work / (name + ".h5")
    check(answer.exists() and filecmp.cmp(slurm.work / "plain.h5", answer, False),
          "%s: the answer of an undisturbed run" % name)
    return job


def good_restart(slurm, number, name, by_slurm):
    """It does so after a restart, once, by Slurm or within the job."""
    job = good_end(slurm, number, name)
    check("restarted from epoch" in slurm.output(name),
          "%s: it went on from a checkpoint" % name)
    check(job["Restarts"] == str(int(by_slurm)), "%s: %s" % (
        name, "queued again by Slurm" if by_slurm else "within the job"), str(job))


# ---- cases: several run at a time ---------------------------------------------------------


def plain(slurm):
    number = submit(slurm, script(slurm, "plain"), "plain",
                    ("-N3", "--ntasks-per-node=1"), 0, "--check")
    good_end(slurm, number, "plain")
    ANSWER.set()
    check("3 ranks in 3 coherence domains" in slurm.output("plain"),
          "plain: each rank on a node of its own")
    number = submit(slurm, script(slurm, "plain"), "two",
                    ("-N2", "--ntasks-per-node=2"), 0)
    good_end(slurm, number, "two")
    check("4 ranks in 2 coherence domains" in slurm.output("two"),
          "two: two ranks on each node")


def lose_one_in_use(slurm, name, lose, ranks):
    """The job's number, its nodes, and which it lost: one that computes, not that of
    the script."""
    number = submit(slurm, script(slurm, "spare"), name,
                    ("-N3", "--ntasks-per-node=%d" % ranks), SLOW)
    nodes = computing(slurm, number, name)
    used = [n for n in nodes if slurm.run(n, ["pgrep", "-x", "heat2d"]).returncode == 0]
    check(len(used) == 2, "%s: two of three nodes compute" % name, str(used))
    victim = [n for n in used if n != nodes[0]][0]
    before = epochs(slurm, name)
    lose(victim)
    begin = time.time()
    wait_for(name + ": computes again", lambda:
             "restarted from epoch" in slurm.output(name), 300)
    print("              %s: lost %s after %d checkpoints; computes again %.1f s later" % (
        name, victim, before, time.time() - begin), flush=True)
    return number, nodes, victim


def with_spare(slurm, name, lose, bring_back, ranks=1):
    number, nodes, victim = lose_one_in_use(slurm, name, lose, ranks)
    good_restart(slurm, number, name, by_slurm=False)
    bring_back(victim)
    slurm.idle(nodes)


def spare(slurm):
    return with_spare(slurm, "spare", slurm.crash, slurm.start)


def spare2(slurm):
    return with_spare(slurm, "spare2", slurm.crash, slurm.start, ranks=2)


def cut(slurm):
    return with_spare(slurm, "cut", slurm.cut, slurm.heal)


def taken(slurm):
    return with_spare(slurm, "taken", lambda node: slurm.set_node(node, "down"),
                      lambda node: slurm.set_node(node, "resume"))


def queued_again(slurm, name, script_name, which):
    """Slurm queues a job again after a crash of its node number `which`."""
    number = submit(slurm, script(slurm, script_name), name,
                    ("-N3", "--ntasks-per-node=1"), SLOW)
    nodes = computing(slurm, number, name)
    slurm.crash(nodes[which])
    begin = time.time()
    slurm.requeued(number)
    print("              %s: crash of %s; queued again at most %.1f s later" % (
        name, nodes[which], time.time() - begin), flush=True)
    slurm.start(nodes[which])
    good_restart(slurm, number, name, by_slurm=True)
    slurm.idle(nodes)


def first(slurm):
    return queued_again(slurm, "first", "spare", 0)


def node(slurm):
    return queued_again(slurm, "node", "plain", 1)


def few(slurm):
    number = submit(slurm, script(slurm, "spare"), "few",
                    ("-N3", "--ntasks-per-node=1"), SLOW)
    nodes = computing(slurm, number, "few")
    for node in nodes[1:]:
        slurm.crash(node)
    slurm.requeued(number, 300)
    for node in nodes[1:]:
        slurm.start(node)
    good_restart(slurm, number, "few", by_slurm=True)
    check("scontrol requeue" not in slurm.output("few"), "few: without an error")
    slurm.idle(nodes)


def down(slurm):
    number = submit(slurm, script(slurm, "plain"), "down",
                    ("-N3", "--ntasks-per-node=1"), SLOW)
    nodes = computing(slurm, number, "down")
    victim = random.choice(nodes)
    slurm.set_node(victim, "down")
    slurm.requeued(number)
    good_restart(slurm, number, "down", by_slurm=True)
    slurm.set_node(victim, "resume")
    slurm.idle(nodes)


def further(slurm):
    """Slow enough for 40 s: a limit of a minute, of whose end Slurm tells after 5 s,
    or up to 30 s later."""
    path = script(slurm, "continue", time="1", signal="B:USR1@55")
    submit(slurm, path, "further", ("-N2", "--ntasks-per-node=1"),
           40000000 // STEPS)
    ended = []
    while ended != slurm.jobs("further"):
        number = [n for n in slurm.jobs("further") if n not in ended][0]
        job = slurm.end_of(number, 180)
        check(job["JobState"] == "COMPLETED",
              "further: job %d completed" % number, str(job))
        ended.append(number)
    check(len(ended) > 1, "further: in %d jobs" % len(ended))
    good_end(slurm, ended[-1], "further")
    check(slurm.output("further").count("restarted from epoch") == len(ended) - 1,
          "further: each job but the first goes on from a checkpoint")


CASES = {"further": further, "first": first, "node": node, "plain": plain,
         "down": down, "spare": spare, "taken": taken}
LONG = {**CASES, "spare2": spare2, "cut": cut, "few": few}


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


def run(slurm, cases):
    """All cases once, as many at a time as there are nodes for."""
    subprocess.run([os.path.join(BUILD, "bin", "heat2d-input"),
                    slurm.work / "rock.h5"], check=True, stdout=subprocess.DEVNULL,
                   stdin=subprocess.DEVNULL, timeout=LIMIT)
    ANSWER.clear()
    with concurrent.futures.ThreadPoolExecutor(NODES // 3) as pool:
        for result in [pool.submit(LONG[name], slurm) for name in cases]:
            result.result()
    slurm.wait_clean(60)
    check(True, "no process and nothing in /dev/shm is left on any node")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="all cases, repeatedly")
    parser.add_argument("--cases", help="by name, with commas between")
    args = parser.parse_args()
    cases = args.cases.split(",") if args.cases else LONG if args.long else CASES
    wrong = None
    for _ in range(3 if args.long else 1):
        with Slurm(NODES, PATH="%s:%s" % (os.path.join(BUILD, "bin"),
                                          os.environ["PATH"])) as slurm:
            root = str(slurm.root)
            try:
                if "pmix" not in slurm.run("n0", ["srun", "--mpi=list"],
                                           env=slurm.env).stdout:
                    skip("this Slurm has no plugin for PMIx")
                run(slurm, cases)
            except (Failure, subprocess.TimeoutExpired) as failure:
                wrong = "%s\n%s" % (failure, slurm.report())
        if wrong or left(root):
            sys.exit("FAIL %s" % (wrong or "left behind: %s" % left(root)))
        check(True, "nothing is left on the machine")


STARTED = time.time()
main()
