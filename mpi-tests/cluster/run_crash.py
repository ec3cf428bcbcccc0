#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""run_crash.py spare|crowded|elastic|cut|killed [CRASHES]

Shows that a job under `recto run` gives the right answer however often its nodes die,
at random moments, while it computes, checkpoints, or starts again:

  spare     heat2d on 3 of 4 nodes; sometimes two die at once
  crowded   heat2d on 3 nodes, 2 of which do the work of a dead one (--oversubscribe)
  elastic   conjugate gradients on 3 nodes, then 2, then 1 (--elastic)
  cut       heat2d on 3 of 4 nodes, whose network is cut instead, and healed later
  killed    heat2d on 3 nodes: a rank, mpirun, or recto run is killed, or told to end,
            at every stage

Never does it hang, and nothing is left on the living nodes. Prints the time from each
crash to computing again. TEST_SEED chooses the moments again."""
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time

from nodes import AS_ROOT, Cluster, Failure, stack

BIN = pathlib.Path(os.environ["TEST_BUILD"]) / "bin"
LIMIT = 200  # seconds for whatever is waited for
COMPUTES = r"heat2d: steps (\d+) to|iteration (\d+)$|^cg-recto: "


def fail(why, text=""):
    print(text[-8000:])
    print("FAIL", why)
    sys.exit(1)


class Job:
    """A program under `recto run`, on the head. Its lines come with their times."""

    def __init__(self, cluster, options, program, folder):
        self.cluster = cluster
        self.lines = []  # (time, line)
        self.folder = folder
        self.log = cluster.work / (folder + ".log")
        if self.log.exists():
            self.log.unlink()
        command = cluster.command("n0", [
            "env", "RECTO_CKPT_DIR=" + folder, BIN / "recto", "run", "--log", self.log,
            *options, *program])
        self.process = subprocess.Popen(
            command, cwd=cluster.work, stdin=subprocess.DEVNULL, text=True,
            env={**os.environ, **AS_ROOT, "OMPI_MCA_plm_rsh_agent":
                 str(cluster.root / "agent")},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append((time.time(), line.rstrip("\n")))

    def text(self):
        return "\n".join(line for _, line in self.lines)

    def fail(self, why):
        self.process.kill() # the rest ends with the cluster
        fail(why, self.text())

    def hangs(self, why):
        self.cluster.stacks(str(BIN))
        self.fail("it hangs: " + why)

    def events(self, name):
        rows = self.log.read_text() if self.log.exists() else ""
        rows = rows[:rows.rfind("\n") + 1].splitlines() # whole ones
        return [e for e in map(json.loads, rows) if e["event"] == name]

    def wait_for(self, what, find):
        """find() until it gives something. The job goes on meanwhile."""
        end = time.time() + LIMIT
        while True:
            found = find()
            if found:
                return found
            if self.process.poll() is not None:
                self.reader.join(10)
                self.fail("it ended with %d before %s" % (self.process.returncode, what))
            if time.time() > end:
                self.hangs("no %s for %d s" % (what, LIMIT))
            time.sleep(0.01)

    def computes(self, after):
        """The time at which the program began to compute, after a time."""
        return self.wait_for("computing", lambda: next(
            (t for t, line in list(self.lines)
             if t > after and re.search(COMPUTES, line)), None))

    def starts(self, count):
        """The event of the latest attempt, when there are `count`."""
        return self.wait_for("attempt", lambda: (self.events("start")[-1:] if len(
            self.events("start")) >= count else [None])[0])

    def end(self, code):
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.hangs("it does not end in %d s" % LIMIT)
        self.reader.join(10)
        if self.process.returncode != code:
            self.fail("exit code %d, expected %d" % (self.process.returncode, code))
        try:
            self.cluster.wait_clean()
        except Failure as left:
            self.fail(str(left))
        return self

    def find(self, pattern):
        found = re.search(pattern, self.text(), re.M)
        if not found:
            self.fail("no %s" % pattern)
        return found.group(1)


def plain(cluster, words, **env):
    """Runs one of the programs without MPI's launcher, on this machine: its output."""
    job = subprocess.Popen(words, cwd=cluster.work, env={**os.environ, **AS_ROOT, **env},
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
    try:
        text = job.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        stack(job.pid)
        job.kill()
        fail("%s hangs: it does not end in %d s" % (words[0], LIMIT),
             job.communicate()[0])
    if job.returncode != 0:
        fail("%s: exit code %d" % (words[0], job.returncode), text)
    return text


class Crashes:
    """Kills nodes of jobs at random moments, and keeps the times."""

    def __init__(self, cluster, rng, action):
        self.cluster = cluster
        self.rng = rng
        self.action = action  # "crash" or "cut"
        self.count = 0
        self.rows = []  # (moment, nodes, hosts before, seconds, hosts after, epoch)
        self.down = []

    def repair(self):
        for node in self.down:
            self.cluster.script({"crash": "start", "cut": "heal"}[self.action], node)
        self.down = []

    def strike(self, used, most):
        """Some of the nodes that an attempt uses die, `most` at most."""
        nodes = [n for n in used if n not in self.down]
        many = most if self.rng.random() < 0.2 else 1
        nodes = self.rng.sample(nodes, min(many, len(nodes)))
        now = time.time()
        for node in nodes:
            self.cluster.script(self.action, node)
        self.down += nodes
        self.count += len(nodes)
        return now, nodes

    def one(self, job, most=1, twice=0.0):
        """A crash of the running job, sometimes another while it starts again."""
        attempts = len(job.events("start"))
        start = job.starts(attempts)
        time.sleep(self.rng.uniform(0.1, 2.0))
        moment = "computing"
        when, nodes = self.strike(start["hosts"].split(), most)
        if self.rng.random() < twice:
            start = job.starts(attempts + 1)
            time.sleep(self.rng.uniform(0, 1.5))
            moment = "starting again"
            attempts += 1
            when, nodes = self.strike(start["hosts"].split(), 1)
        again = job.computes(when)
        if len(job.events("start")) <= attempts:
            # it may have printed this in the attempt that has just been struck
            job.starts(attempts + 1)
            again = job.computes(job.events("start")[-1]["time"])
        after = job.events("start")[-1]
        if again - when > 15:
            print("slow: after the crash of %s at %.2f the job said" % (nodes, when))
            for t, line in job.lines:
                if when - 1 < t <= again:
                    print("%8.2f  %s" % (t - when, line))
        self.rows.append((moment, "+".join(nodes), start["hosts"], again - when,
                          after["hosts"], after["epoch"]))

    def table(self):
        print("%-15s %-6s %-12s %-12s %6s %9s" % (
            "crashed while", "node", "of", "then on", "epoch", "seconds"))
        for moment, nodes, before, seconds, after, epoch in self.rows:
            print("%-15s %-6s %-12s %-12s %6d %9.2f" % (
                moment, nodes, before, after, epoch, seconds))
        times = [row[3] for row in self.rows]
        print("%s: %d in %d incidents; from the last one to computing again: median "
              "%.2f s, max %.2f s" % (self.action, self.count, len(times),
                                      statistics.median(times), max(times)))


def heat2d(cluster, crashes, count, options, hosts, **how):
    """Crashes, then the end by `recto halt`, then the rest without disturbance."""
    work = cluster.work
    (work / "hosts").write_text("".join("n%d slots=1\n" % (i + 1) for i in range(hosts)))
    plain(cluster, [BIN / "heat2d-input", "rock.h5"])
    steps = str(500 + 150 * count)
    words = [BIN / "heat2d", "--input", "rock.h5", "--steps", steps, "--quiet"]
    undisturbed = plain(cluster, [*words, "--check", "--json"],
                        RECTO_CKPT_DIR="undisturbed")
    checksum = re.search(r"checksum (\w+)", undisturbed).group(1)
    options = ["-n", "3", "--hostfile", "hosts", "--retries", "1000", *options]
    words[-1:] = ["--checkpoint-every", "20"]
    job = Job(cluster, options, [*words, "--slow", "20000"], "heat")
    job.computes(0)
    while crashes.count < count:
        crashes.one(job, **how)
        crashes.repair()
    done = subprocess.run([BIN / "recto", "halt", work / "heat"], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, timeout=LIMIT)
    if done.returncode != 0:
        job.fail("recto halt: " + done.stdout)
    job.end(75)
    job = Job(cluster, options, [*words, "--check"], "heat").end(0)
    if job.find(r"^checksum (\w+)") != checksum or job.find("^answer (.*)") != "ok":
        job.fail("the undisturbed run's checksum is " + checksum)
    print("checksum %s as undisturbed" % checksum)


def elastic(cluster, crashes, count):
    plain(cluster, [BIN / "cg-laplace", "--nx", "400", "--ny", "400", "a.mtx"])
    options = ["-n", "3", "--host", "n1,n2,n3", "--elastic", "--retries", "1000"]
    words = [BIN / "cg-recto", "a.mtx", "--checkpoint-every", "50",
             "--tolerance", "1e-10"]
    undisturbed = Job(cluster, options, words, "undisturbed").end(0)
    wanted = int(undisturbed.find(r"^iterations (\d+)"))
    number = 0
    while crashes.count < count:
        number += 1
        job = Job(cluster, options, words, "cg%d" % number)
        job.computes(0)
        for _ in range(2):
            crashes.one(job)
        job.end(0)
        crashes.repair()
        got = int(job.find(r"^iterations (\d+)"))
        # sums over fewer ranks round differently
        if job.find("^answer (.*)") != "ok" or abs(got - wanted) > wanted / 20:
            job.fail("%d iterations, undisturbed %d" % (got, wanted))
        print("answer ok after %d iterations, undisturbed %d" % (got, wanted))


def children(pid):
    """Processes below a process, by the names of their programs."""
    found = []
    for child in pathlib.Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split():
        name = pathlib.Path("/proc/%s/comm" % child).read_text().strip()
        found += [(name, int(child))] + children(int(child))
    return found


def killed(cluster):
    """Ends of all kinds. Job.end looks for what is left."""
    plain(cluster, [BIN / "heat2d-input", "rock.h5"])
    options = ["-n", "3", "--host", "n1,n2,n3"]
    words = [BIN / "heat2d", "--input", "rock.h5", "--steps", "400", "--check",
             "--checkpoint-every", "20", "--slow", "20000"]

    def job(what, folder="killed"):
        print("%-50s" % what, end="", flush=True)
        return Job(cluster, options, words, folder)

    def done(j, code):
        began = time.time()
        j.end(code)
        print("ok, %.1f s to the end" % (time.time() - began), flush=True)

    for what, moment in (("asking the hosts", 0.05), ("starting", 0.6), ("starting", 1.2)):
        j = job("SIGINT while %s" % what, "early")
        if moment > 0.1:
            j.starts(1)
        else:
            j.wait_for("the log", j.log.exists)
        time.sleep(moment)
        j.process.send_signal(signal.SIGINT)
        done(j, 130)
    j = job("SIGTERM while computing")
    j.computes(0)
    j.process.send_signal(signal.SIGTERM)
    done(j, 143)
    j = job("SIGKILL of recto run while computing")
    j.computes(0)
    j.process.kill()
    done(j, -signal.SIGKILL)
    j = job("SIGKILL of mpirun, then of a rank, then SIGUSR1")
    first = j.computes(0)
    j.wait_for("a checkpoint", lambda: "epoch 1" in j.text())
    os.kill(dict(children(j.process.pid))["mpirun"], signal.SIGKILL)
    second = j.computes(first)
    j.wait_for("a checkpoint", lambda: j.events("start")[-1]["epoch"] >= 1)
    time.sleep(1.5)
    cluster.run("n2", ["pkill", "-KILL", "heat2d"])
    third = j.computes(second)
    time.sleep(0.5)
    j.process.send_signal(signal.SIGUSR1)
    done(j, 75)
    j = job("SIGINT after a crash, while hosts are asked")
    when = j.computes(0)
    cluster.crash("n3")
    j.wait_for("the sign", lambda: j.events("sign"))
    j.process.send_signal(signal.SIGINT)
    done(j, 130)
    cluster.start("n3")
    j = job("to its end")
    if j.computes(0) < when or third < second:
        j.fail("time runs backwards")
    done(j, 0)
    if j.find("^answer (.*)") != "ok":
        j.fail("the answer is wrong")


def main():
    case = sys.argv[1]
    if case == "killed":
        with Cluster(3) as cluster:
            killed(cluster)
        return
    count = int(sys.argv[2]) if len(sys.argv) > 2 else {
        "spare": 10, "crowded": 6, "elastic": 6, "cut": 2}[case]
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print("TEST_SEED=%d" % seed, flush=True)
    began = time.time()
    with Cluster(4 if case in ("spare", "cut") else 3) as cluster:
        crashes = Crashes(cluster, random.Random(seed),
                          "cut" if case == "cut" else "crash")
        if case == "spare":
            heat2d(cluster, crashes, count, ["--spare", "--oversubscribe"], 4, most=2,
                   twice=0.2)
        elif case == "crowded":
            heat2d(cluster, crashes, count, ["--oversubscribe"], 3)
        elif case == "cut":
            heat2d(cluster, crashes, count, ["--spare"], 4)
        else:
            elastic(cluster, crashes, count)
        crashes.table()
    print("%.0f s in all" % (time.time() - began))


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ctest's limit: stop the nodes
main()
