#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that a job over several nodes ends, whatever its ranks wait for, when one of
them is lost, and that nothing is left of it: no process, no file in /dev/shm or /tmp.

    kill    the rank dies by SIGKILL
    crash   its node dies, with all that runs there
    cut     nobody reaches its node any more, which runs on: there the job ends as well
    daemon  the process that MPI's launcher started on its node dies by SIGKILL
    stop    the rank is stopped (SIGSTOP): where others wait for its answer, the job
            ends after RECTO_TIMEOUT, with a message that names rank, host and object

mpi-tests/cluster/peers.c has the places where ranks wait. The quick choice takes each
place once, ways and shapes (nodes x ranks) taking turns; --long takes all of each.
Most of a case is waiting: several run at a time, each on a cluster of its own."""
import argparse
import contextlib
import os
import pathlib
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

from nodes import Cluster, Failure

LOSSES = ["kill", "crash", "cut", "daemon"]
SHAPES = ["2x2", "3x1", "4x2"]
PLACES = ["read", "write", "read.sequential", "write.sequential", "owned",
          "atomic", "lock.held", "lock.home", "rwlock", "event", "semaphore",
          "condition", "malloc", "mfree", "barrier", "barriers", "migrate",
          "alloc", "checkpoint", "restart", "finalize", "init"]
# What a message must name where the victim is stopped and owes an answer. (Where a
# page's home waits for the victim, the message names the home.)
OBJECTS = {"read": '"pages"', "write": '"pages"', "atomic": '"word"',
           "read.sequential": '"pages"', "write.sequential": '"pages"',
           "lock.home": "lock", "malloc": "heap"}
START = 200 # seconds for a job to start, on a machine that does other things
END = 60    # seconds for it to end; 5 of them until a cut is noticed
TIMEOUT = 3 # RECTO_TIMEOUT where that is to end it; else it must not:
NEVER = 600


class Case:
    """A job that loses its last rank."""

    def __init__(self, cluster, program, title, seed):
        self.cluster = cluster
        self.program = program
        self.title = title
        self.place, self.way, shape = title.split()
        self.rng = random.Random("%d %s" % (seed, title))
        nodes, width = map(int, shape.split("x"))
        self.nodes = [f"n{i + 1}" for i in range(nodes)]
        self.width = width
        self.ranks = nodes * width
        self.work = cluster.work / title.replace(" ", ".")

    def start(self, log):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("RECTO_")}
        env.update(TEST_READY=str(self.work / "ready"), RECTO_HEAP="1M",
                   RECTO_TIMEOUT=str(TIMEOUT if self.way == "stop" else NEVER))
        hosts = ",".join(f"{n}:{self.width}" for n in self.nodes)
        return subprocess.Popen(
            self.cluster.mpirun(["--host", hosts, "-n", self.ranks, self.program,
                                 self.place]),
            env=env, cwd=self.work, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def output(self):
        log = self.work / "log"
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    def wait_ready(self, job):
        """(host, pid) of the victim, when all ranks are about to wait."""
        end = time.time() + START
        while time.time() < end and job.poll() is None:
            there = [self.work / "ready" / str(r) for r in range(self.ranks)]
            if all(f.exists() for f in there):
                host, pid = there[-1].read_text().split()
                return host, pid
            time.sleep(0.01)
        self.cluster.stacks(self.program)
        raise Failure(f"the job did not start in {START} s" if job.poll() is None
                      else f"the job ended with {job.returncode} before its time")

    def on_victim(self, host, *words):
        done = self.cluster.run(host, words)
        if done.returncode != 0:
            raise Failure(" ".join(words) + ": " + done.stderr)

    def lose(self, host, pid):
        if self.way in ("kill", "stop"):
            self.on_victim(host, "kill", "-" + self.way.upper(), pid)
        elif self.way == "daemon":
            self.on_victim(host, "pkill", "-KILL", "-x", "orted")
        else:
            self.cluster.script(self.way, host)

    def end(self, job):
        """Seconds until the job ended."""
        start = time.time()
        try:
            code = job.wait(END)
        except subprocess.TimeoutExpired as hang:
            self.cluster.stacks(self.program)
            raise Failure(f"a hang: not ended after {END} s") from hang
        if code == 0:
            raise Failure("it ended as if nothing had happened")
        return time.time() - start

    def wait_clean(self, host):
        """Until nothing is left on the nodes that live and the head."""
        # where its daemon is lost, nobody is there to remove the job's folder
        but = [host + ": /tmp/ompi."] if self.way == "daemon" else []
        self.cluster.wait_clean(END, ("/dev/shm", "/tmp"), but)

    def told(self, host):
        """The message after RECTO_TIMEOUT."""
        rank = self.ranks - 1
        for line in self.output().splitlines():
            if re.search(rf"^recto: rank \d+ on n\d+: fatal: .*rank {rank} on "
                         rf"{host}\b.*RECTO_TIMEOUT", line):
                if OBJECTS[self.place] in line:
                    return
        raise Failure("no message that names rank, host and object")

    def mend(self, job):
        job.terminate() # mpirun, if it still runs: it ends the job and tidies up
        try:
            job.wait(10)
        except subprocess.TimeoutExpired:
            job.kill()
            job.wait()
        if self.way == "crash" and self.nodes[-1] not in self.cluster.alive():
            self.cluster.start(self.nodes[-1])
        elif self.way == "cut":
            self.cluster.heal(self.nodes[-1])
        self.cluster.clean()

    def run(self):
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "ready").mkdir(parents=True)
        with open(self.work / "log", "w", encoding="utf-8") as log:
            job = self.start(log)
            try:
                host, pid = self.wait_ready(job)
                time.sleep(self.rng.uniform(0, 0.3))
                self.lose(host, pid)
                seconds = self.end(job)
                if self.way == "stop":
                    self.told(host)
                self.wait_clean(host)
            finally:
                self.mend(job)
        return seconds


class Worker(threading.Thread):
    """Takes cases, one after the other, to a cluster of its own."""

    def __init__(self, cluster, cases, args):
        super().__init__()
        self.cluster = cluster
        self.cases = cases
        self.args = args
        self.failed = 0

    def one(self, title):
        case = Case(self.cluster, os.path.abspath(self.args.program), title,
                    self.args.seed)
        begin = time.time()
        try:
            seconds = case.run()
            print(f"{title}: ended after {seconds:.1f} s, all took "
                  f"{time.time() - begin:.1f} s", flush=True)
        except (Failure, OSError, subprocess.SubprocessError) as problem:
            self.failed += 1
            print(f"FAIL: {title}: {problem}\n{case.output()[-3000:]}", flush=True)

    def run(self):
        while True:
            try:
                self.one(self.cases.get_nowait())
            except queue.Empty:
                return


def choice(everything):
    """The cases: "PLACE WAY SHAPE"."""
    stops = [(p, "stop") for p in OBJECTS]
    if everything:
        return [f"{p} {w} {s}" for s in SHAPES
                for p, w in [(p, w) for p in PLACES for w in LOSSES] + stops]
    pairs = [(p, LOSSES[(i + i // len(LOSSES)) % len(LOSSES)])
             for i, p in enumerate(PLACES)] + stops
    return [f"{p} {w} {SHAPES[i % len(SHAPES)]}" for i, (p, w) in enumerate(pairs)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="peers, built")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", default="", help="cases that match this")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--clusters", type=int, default=3)
    parser.add_argument("--seed", type=int,
                        default=random.SystemRandom().randrange(1 << 32))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1)) # the nodes end, too
    print(f"seed {args.seed}", flush=True)
    titles = [t for t in choice(args.long) if re.search(args.only, t)] * args.times
    cases = queue.SimpleQueue()
    for title in titles:
        cases.put(title)
    root = pathlib.Path(os.environ["TEST_WORK"])
    with contextlib.ExitStack() as clusters:
        workers = [Worker(clusters.enter_context(Cluster(4, root / f"c{i}")), cases,
                          args) for i in range(min(args.clusters, len(titles)))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    failed = sum(w.failed for w in workers) + cases.qsize()
    print(f"{len(titles)} cases, {failed} failed or not run")
    sys.exit(1 if failed or not titles else 0)


if __name__ == "__main__":
    main()
