#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that a power cut at any moment loses nothing that was reported as written.

Checkpoints of a job, what it removes by RECTO_CKPT_KEEP, chains that it compacts, its levels on nodes and their
way to the shared folder, at a restart too, `recto prune` and `recto compact` record
every step (RECTO_INJECT=trace=...). From the record the folders are made again as
disks may hold them after a cut (replay.py). One process then restarts from each state
(`victim check`, without mpirun), compares all memory, goes on, and restarts again.

A step that was reported before the cut must be restored, or the one after it. What
prune or compact left undone verifies, and is done by the next one. Of levels, with all
nodes or without some: the newest epoch for which there are pieces, as the
rules of copies and parity say."""
import itertools
import os
import random
import re
import shutil
import subprocess

from common import Driver
from replay import RENAME, Recording, lay_down

BATCH = 100
SHARED = "shared"


class Try:
    """A state on a disk, and which steps may be restored from it."""

    def __init__(self, folder, what, allowed):
        self.folder, self.what, self.allowed = folder, what, allowed


class Bench:
    """Where states are made and judged. `room` is in memory."""

    def __init__(self, driver, room, rng):
        self.driver, self.room, self.rng = driver, room, rng
        self.victim = driver.program("victim")
        self.batch, self.number = [], 0
        self.env = {}

    def try_state(self, name, state, what, allowed, nodes=(), then=None):
        """Lays it down; the pieces of `nodes` into the folder of the one that
        restarts. then(folder): what is done before."""
        folder = os.path.join(self.room, "%s-%d" % (name, self.number))
        self.number += 1
        lay_down(state, {SHARED: folder, **{n: folder + ".n0" for n in nodes}})
        if then is None or self.driver.check(then(folder), what, folder):
            self.batch.append(Try(folder, what, allowed))
        if len(self.batch) == BATCH:
            self.judge()

    def judge(self):
        listing = os.path.join(self.room, "folders.txt")
        with open(listing, "w", encoding="utf-8") as out:
            out.writelines(t.folder + "\n" for t in self.batch)
        done = subprocess.run([self.victim, "check", listing], env=self.env, text=True,
                              capture_output=True, timeout=900, check=False)
        if done.returncode != 0:
            self.driver.fail("restart from the folders", done.stderr[-4000:])
        answers = dict(line.split(" ", 1) for line in done.stdout.splitlines())
        for t in self.batch:
            answer = answers.get(t.folder, "error nothing")
            step = None if "error" in answer else int(answer.split()[1])
            if self.driver.check(step in t.allowed, t.what, "%s instead of %s in %s\n%s" % (
                    answer, sorted(t.allowed), t.folder, done.stderr[-2000:])):
                shutil.rmtree(t.folder)
                shutil.rmtree(t.folder + ".n0", ignore_errors=True)
        self.batch = []


def job(driver, folder, ranks, steps, naps=0, **more):
    """Output of a job that records itself, if a trace is asked for. naps: up to so many
    milliseconds between checkpoints."""
    env = driver.environment(folder, VICTIM_SHARED="1", VICTIM_TIMES="1", **more)
    code, out, err = driver.mpirun(
        ranks, [driver.program("victim"), "run", str(steps), str(naps)], env)
    good = code == 0 or "VICTIM_KILL" in more
    if not driver.check(good and (steps == 0 or "written" in out), "the recorded job",
                        out + err):
        driver.end()
    return [(int(w[1]), int(w[2])) for w in map(str.split, out.splitlines())
            if w[0] == "at"]


def trace_of(driver, name):
    trace = driver.path("trace-" + name)
    os.mkdir(trace)
    return trace, "trace=" + trace


def last_of(reported, t):
    return max([step for when, step in reported if when <= t], default=-1)


def different(bench, recording, most, about):
    """Yields `most` (time, what of it, state, what else tells states apart) that differ;
    about(t) gives the last."""
    seen, idle = set(), 0
    for t, how, state in recording.states(bench.rng):
        key = (recording.digest(state), about(t))
        idle = idle + 1 if key in seen else 0
        if len(seen) == most or idle > 1000:
            break
        if key not in seen:
            seen.add(key)
            yield t, "cut %.3f ms after the start, there is %s of what was open" % (
                1e-6 * (t - recording.steps[0].begin), how), state, about(t)
    if bench.batch:
        bench.judge()
    print("%d different states, %d cuts, %d steps recorded" % (
        len(seen), len(recording.cuts), len(recording.steps)), flush=True)
    bench.driver.check(len(seen) >= most, "enough different states")


# ---- commits, and what a job keeps ---------------------------------------------------------


def commits(bench, full, steps, most, keep=None, compact=None):
    """keep: (rule, what must be there if this is the newest). compact: the bound beyond
    which the job compacts a chain."""
    driver = bench.driver
    name = "full%d%s%s" % (full, "-keep" if keep else "", "-compact" if compact else "")
    folder = driver.path(name)
    trace, inject = trace_of(driver, name)
    more = {"RECTO_CKPT_KEEP": keep[0]} if keep else {}
    if compact:
        more["RECTO_CKPT_COMPACT"] = compact
    reported = job(driver, folder, 2, steps, naps=100 if compact else 0,
                   RECTO_CKPT_FULL=str(full), RECTO_INJECT=inject, **more)
    recording = Recording(trace, {SHARED: folder})
    if compact:
        epochs = [s.to[:9] for s in recording.steps
                  if s.kind == RENAME and s.to.startswith("e0")]
        driver.check(len(set(epochs)) < len(epochs), name + ": a chain is compacted",
                     str(epochs))
    bench.env = driver.environment(VICTIM_SHARED="1", RECTO_QUIET="1", **more)
    for t, what, state, last in different(bench, recording, most,
                                          lambda t: last_of(reported, t)):
        what = "%s: %s, step %d was reported" % (name, what, last)

        def kept(where):
            found = numbers(driver, where)
            return verified(driver, where) and keep[1](max(found)) <= found
        bench.try_state(name, state, what, {last, last + 1},
                        then=kept if keep and last >= 0 else None)


def verified(driver, folder):
    code, out, err = driver.recto("verify", folder)
    if code != 0:
        print(out + err)
    return code == 0


def numbers(driver, folder):
    _, listing, _ = driver.recto_json("ls", folder)
    return {e["epoch"] for e in listing["epochs"]}


# ---- recto prune, recto compact ----------------------------------------------------------------


def command(bench, name, folder, words, most):
    """A command at the folder, whose newest step restarts after all of its states."""
    driver = bench.driver
    trace, inject = trace_of(driver, name)
    whole = numbers(driver, folder)
    before = Recording.before({SHARED: folder})
    # where it is, since inode numbers tell the files; the next one has a copy
    spare = folder + "-spare"
    shutil.copytree(folder, spare)
    os.environ["RECTO_INJECT"] = inject
    try:
        code, out, err = driver.recto(words[0], folder, *words[1:])
    finally:
        del os.environ["RECTO_INJECT"]
    if not driver.check(code == 0, name, out + err):
        driver.end()
    left = numbers(driver, folder)
    recording = Recording(trace, {SHARED: folder}, before)
    bench.env = driver.environment(VICTIM_SHARED="1", RECTO_QUIET="1")
    again = itertools.cycle((True, False))

    def then(where):
        if not verified(driver, where) or numbers(driver, where) not in (whole, left):
            return False
        if not next(again):
            return True
        done = driver.recto(words[0], where, *words[1:])
        if done[0] != 0:
            print(done)
        return done[0] == 0 and verified(driver, where) and \
            numbers(driver, where) == left and not driver.strays(where)
    for _, what, state, _ in different(bench, recording, most, lambda t: None):
        bench.try_state(name, state, "%s: %s" % (name, what), {max(whole)}, then=then)
    return spare


def commands(bench, most):
    folder = bench.driver.path("chains")
    job(bench.driver, folder, 2, 10, RECTO_CKPT_FULL="3", RECTO_CKPT_KEEP="all")
    for name, words in (("prune", ["prune", "--keep", "last=2"]),
                        ("compact the newest", ["compact"]),
                        ("deflate the newest", ["compact", "--deflate"]),
                        ("compact one within", ["compact", "6"])):
        folder = command(bench, name.replace(" ", "-"), folder, words, most)


# ---- levels -------------------------------------------------------------------------------------


def node(number):
    return "n%d" % number


class Levels:
    """Nodes of a rank each, what they make, and what is promised without some."""

    def __init__(self, nodes, levels, code, promised):
        self.nodes, self.levels, self.promised = nodes, levels, promised
        self.k, self.m = code

    def environment(self, folder):
        return {"RECTO_CKPT_LOCAL": folder + ".n%d", "RECTO_NODE": "rank",
                "RECTO_CKPT_LEVELS": self.levels,
                "RECTO_CKPT_SET": "%d+%d" % (self.k, self.m), "RECTO_CKPT_FULL": "7"}

    def folders(self, folder):
        return {SHARED: folder, **{node(n): "%s.n%d" % (folder, n)
                                   for n in range(self.nodes)}}

    def newest(self, recording, state, lost):
        """The newest epoch that can be had, by the rules; -1: none."""
        manifests = [state[SHARED, name][1].decode()
                     for name in ("manifest", "manifest.copy")
                     if recording.intact(state, (SHARED, name))]
        texts = sorted((int(re.search(r"generation=(\d+)", m).group(1)), m)
                       for m in manifests)
        epochs = [int(n) for n in re.findall(r"^epoch number=(\d+)", texts[-1][1], re.M)] \
            if texts else []
        if not epochs:
            return -1
        pieces = set()
        for folder, name in state:
            found = re.match(r"l(\d{8})-.*\.([scp])(\d{4})$", name)
            if found and folder not in map(node, lost) and recording.intact(state, (folder, name)):
                pieces.add((int(found.group(1)), found.group(2), int(found.group(3))))
        number = epochs[-1]
        while all(self.has_share(pieces, number + 1, n) for n in range(self.nodes)):
            number += 1
        return number

    def has_share(self, pieces, epoch, of):
        """Is it there, or can each of its segments be computed?"""
        def there(kind, n):
            return (epoch, kind, n) in pieces

        def can(member, role):
            return there("p", member) if role < self.m else \
                there("s", member) or there("c", member)
        n = self.k + self.m
        if there("s", of) or there("c", of):
            return True
        stripes = [s for s in range(n) if (of - s) % n >= self.m]
        return n == self.nodes and all(
            sum(can(i, (i - s) % n) for i in range(n)) >= self.k for s in stripes)


def shared_before(last, every):
    """The newest step in the shared folder that must be there."""
    return min(last, max(1, last - last % every))


# The first two epochs are full ones, in the shared folder.
COPIES = Levels(3, "partner:1,set:3,shared:5", (2, 1),
                lambda last, lost: last if len(lost) < 2 else shared_before(last, 5))
PARITY = Levels(4, "set:2,shared:6", (2, 2),
                lambda last, lost: last if not lost else
                max(min(last, last - last % 2), shared_before(last, 6))
                if len(lost) < 3 else shared_before(last, 6))


def level_states(bench, name, case, recording, reported, most, gone=frozenset()):
    """reported: [(time, step)]; `gone`: who was lost before."""
    driver = bench.driver
    bench.env = driver.environment(
        VICTIM_SHARED="1", RECTO_QUIET="1", RECTO_NODE="rank",
        RECTO_CKPT_LOCAL="of the folder", RECTO_CKPT_LEVELS="partner:1")
    for t, what, state, last in different(bench, recording, most,
                                          lambda t: last_of(reported, t)):
        lost = set()
        if bench.rng.random() < 0.6:
            lost = set(bench.rng.sample(range(case.nodes),
                                        bench.rng.randrange(1, case.nodes)))
        newest = case.newest(recording, state, lost)
        what = "%s: %s, step %d was reported, %s lost" % (
            name, what, last, sorted(lost) or "no node is")
        driver.check(case.promised(last, lost | gone) <= newest, what,
                     "%d is what is left" % newest)
        bench.try_state(name, state, what, {newest},
                        nodes=[node(n) for n in range(case.nodes) if n not in lost])


def levels(bench, name, case, steps, most):
    folder = bench.driver.path(name)
    trace, inject = trace_of(bench.driver, name)
    reported = job(bench.driver, folder, case.nodes, steps, RECTO_INJECT=inject,
                   VICTIM_KILL="1", **case.environment(folder))
    recording = Recording(trace, case.folders(folder))
    level_states(bench, name, case, recording, reported, most)


def rebuilt(bench, case, most):
    """A restart with an empty node in the place of one that is lost."""
    driver, name = bench.driver, "rebuilt"
    folder = driver.path(name)
    job(driver, folder, case.nodes, 5, VICTIM_KILL="1", **case.environment(folder))
    shutil.rmtree(folder + ".n2")
    os.mkdir(folder + ".n2")
    before = Recording.before(case.folders(folder))
    trace, inject = trace_of(driver, name)
    job(driver, folder, case.nodes, 0, RECTO_INJECT=inject, VICTIM_KILL="1",
        **case.environment(folder))
    recording = Recording(trace, case.folders(folder), before)
    level_states(bench, name, case, recording, [(0, 4)], most, {2})


def main():
    driver = Driver(__doc__)
    seed = int(os.environ.get("TEST_SEED", "7"))
    print("seed %d" % seed)
    long = driver.args.long
    with driver.room("power") as room:
        bench = Bench(driver, room, random.Random(seed))
        commits(bench, 3, 9, 10000 if long else 600)
        commits(bench, 16, 6, 10000 if long else 600)
        commits(bench, 2, 10, 4000 if long else 100,
                ("last=3,every=4", lambda last: {n for n in range(last + 1)
                                                 if n % 4 == 0 or n > last - 3}))
        commits(bench, 100, 16, 4000 if long else 150, compact="200")
        commands(bench, 300 if long else 60)
        levels(bench, "copies", COPIES, 9, 6000 if long else 200)
        levels(bench, "parity", PARITY, 9, 6000 if long else 150)
        rebuilt(bench, PARITY, 2000 if long else 60)
    driver.end()


if __name__ == "__main__":
    main()
