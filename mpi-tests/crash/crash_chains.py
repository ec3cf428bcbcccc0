#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the program `chains`: a job compacts its chains of epochs beside the program.

* After any epoch and its compaction a restart reads no more than RECTO_CKPT_COMPACT
  allows, counted, and gives the memory of the call; over seeds, ranks, domains, modes
  and ways to compress, while all ranks write all the time.
* A rank may be killed before or after every step of a compaction, or in the middle of
  a write (by all of these in the long run): the newest epoch is restored, and the next
  job leaves nothing behind.
* A step that fails costs the compaction alone, and is told of once.
* Checkpoints that come while a compaction is under way end it: nothing is lost, nothing
  left behind, and the chain stays within a differential epoch of its bound."""
import shutil

from common import Driver, prepare

SEED = "7"
WRITES = ("compact-write", "compact-sums", "meta-write", "manifest-write", "copy-write")
MATRIX = [
    # ranks, RECTO_CKPT_COMPACT, more settings
    (1, "120", {}),
    (2, "150", {"RECTO_NODE": "rank"}),
    (2, "150", {"RECTO_CKPT_MODE": "sync"}),
    (2, "200", {"RECTO_CKPT_COMPRESS": "lz4"}),
    (4, "150", {"RECTO_NODE": "2", "RECTO_CKPT_COMPRESS": "zstd"}),
    (4, "120", {"RECTO_CKPT_BUFFER": "64K", "RECTO_CKPT_KEEP": "last=6"}),
    (2, "150", {"RECTO_NODE": "rank", "RECTO_TRANSPORT": "mpi",
                "RECTO_CKPT_COMPRESS": "lz4"}),
    # on the nodes' disks in between
    (3, "150", {"RECTO_NODE": "rank", "RECTO_CKPT_LEVELS": "partner:2,shared:3"}),
]


def bounds(driver, chains, seeds):
    compacted = 0
    for number, (ranks, percent, more) in enumerate(MATRIX):
        for seed in seeds:
            what = "%d ranks, seed %d, %s %s" % (ranks, seed, percent, more)
            folder = driver.path("run%d-%d" % (number, seed))
            if "RECTO_CKPT_LEVELS" in more:
                more = dict(more, RECTO_CKPT_LOCAL=folder + ".n%d")
            env = driver.environment(folder, **more, RECTO_CKPT_COMPACT=percent)
            code, out, err = driver.mpirun(ranks, [chains, "run", str(seed), "20"], env,
                                           timeout=300)
            driver.check(code == 0 and "passed: chains" in out, what, out + err[-4000:])
            compacted += sum(int(line.split()[1]) for line in out.splitlines()
                             if line.startswith("compactions"))
    driver.check(compacted > 0, "some chain is compacted")


def template_make(driver, chains, env):
    """A folder whose next step compacts, and that step."""
    folder = driver.path("whole")
    _, out, err = driver.mpirun(2, [chains, "write", SEED, "16"],
                                dict(env, RECTO_CKPT_DIR=folder))
    steps = [int(line.split()[1]) for line in out.splitlines()
             if line.startswith("step") and line.endswith("full 1")]
    if not driver.check(steps, "template", out + err):
        driver.end()
    folder = driver.path("template")
    code, out, err = driver.mpirun(2, [chains, "write", SEED, str(steps[0])],
                                   dict(env, RECTO_CKPT_DIR=folder))
    driver.check(code == 0, "template", out + err)
    return folder, steps[0]


def points(driver, chains, template, env):
    """[(rank, number, label)] of a compaction."""
    folder = driver.path("count")
    listing = driver.path("count.txt")
    prepare(template, folder)
    driver.mpirun(2, [chains, "write", SEED, "1"],
                  dict(env, RECTO_CKPT_DIR=folder, RECTO_INJECT="count=" + listing))
    with open(listing, encoding="utf-8") as lines:
        rows = [line.split() for line in lines]
    rows = sorted((int(r), int(n), label) for r, n, label in rows)
    first = {rank: min(n for r, n, label in rows
                       if r == rank and label.startswith("compact-"))
             for rank in range(2)}
    last = max(n for r, n, label in rows if r == 0 and
               label in ("copy-dir", "unlink-old"))
    return [row for row in rows if row[1] >= first[row[0]] and
            (row[0] != 0 or row[1] <= last)]


def chosen(rows, everything):
    """The first step of each label on each rank."""
    seen = set()
    return [row for row in rows if everything or
            not (row[::2] in seen or seen.add(row[::2]))]


def kills(driver, chains, template, steps, env):
    rows = points(driver, chains, template, env)
    driver.check({"compact-open", "compact-write", "compact-sums", "compact-sync",
                  "meta-write", "epoch-rename", "manifest-rename",
                  "unlink-old"} <= {label for _, _, label in rows}, "labels", str(rows))
    for i, (rank, number, label) in enumerate(chosen(rows, driver.args.long)):
        ways = [("before", "kill"), ("after", "kill")]
        ways += [("before", "tear")] if label in WRITES else []
        for when, do in ways if driver.args.long else [ways[i % len(ways)]]:
            kill(driver, chains, template, steps, env,
                 "rank=%d,point=%d,when=%s,do=%s" % (rank, number, when, do), label)


def kill(driver, chains, template, steps, env, rule, label):
    folder = driver.path("kill")
    prepare(template, folder)
    what = "%s (%s)" % (rule, label)
    env = dict(env, RECTO_CKPT_DIR=folder)
    code, out, err = driver.mpirun(2, [chains, "write", SEED, "1"],
                                   dict(env, RECTO_INJECT=rule))
    driver.check(code not in (0, -1) and not driver.is_wrong(err),
                 what + ": the job was not killed as it should be", out + err)
    code, out, err = driver.mpirun(2, [chains, "write", SEED, "1"], env)
    driver.check(code == 0 and "restored %d\n" % steps in out, what, out + err)
    left = driver.strays(folder)
    driver.check(not left, what + ": files left behind", str(left))


def failures(driver, chains, template, steps, env):
    """Only the compaction fails; the job goes on by differential epochs."""
    for label in ("compact-open", "compact-allocate", "compact-write", "compact-sums",
                  "compact-sync"):
        for rank in (0, 1):
            if rank == 1 and label == "compact-allocate":
                continue
            folder = driver.path("fail")
            prepare(template, folder)
            what = "%s fails on rank %d" % (label, rank)
            rule = "rank=%d,label=%s,hit=0,do=enospc" % (rank, label)
            code, out, err = driver.mpirun(
                2, [chains, "bear", SEED, "3"],
                dict(env, RECTO_CKPT_DIR=folder, RECTO_INJECT=rule, RECTO_QUIET="0"))
            driver.check(code == 0, what, out + err)
            driver.check(err.count("No space left") == 1 and
                         "stays as it is" in err, what + ": told once", err)
            # the first one's compaction has failed
            driver.check("step %d diff 0" % (steps + 1) in out,
                         what + ": the next one is no full one", out)
            code, out, err = driver.mpirun(2, [chains, "check", SEED],
                                           dict(env, RECTO_CKPT_DIR=folder))
            driver.check("restored %d\n" % (steps + 2) in out, what + ": after it",
                         out + err)
            left = driver.strays(folder)
            driver.check(not left, what + ": files left behind", str(left))


def hurries(driver, chains, seeds):
    slow = "label=compact-write,hit=0,do=slow,ms=5"
    for ranks, node in ((1, "auto"), (2, "rank"), (4, "2")):
        for seed in seeds:
            what = "%d ranks, seed %d in a hurry" % (ranks, seed)
            folder = driver.path("hurry%d-%d" % (ranks, seed))
            env = driver.environment(folder, RECTO_NODE=node, RECTO_CKPT_COMPACT="120")
            code, out, err = driver.mpirun(ranks, [chains, "hurry", str(seed), "30"],
                                           dict(env, RECTO_INJECT=slow))
            driver.check(code == 0, what, out + err[-4000:])
            code, out, err = driver.mpirun(ranks, [chains, "check", str(seed)], env)
            driver.check("restored 29\n" in out, what + ": after it", out + err[-4000:])
            left = driver.strays(folder)
            driver.check(not left, what + ": files left behind", str(left))


def names(driver, chains):
    """Many new names pass the bound: all ranks see it at the same step."""
    env = driver.environment(driver.path("names"), RECTO_CKPT_COMPACT="150")
    code, out, err = driver.mpirun(8, [chains, "names", SEED, "16"], env, timeout=120)
    driver.check(code == 0 and "compactions 0" not in out and "compactions" in out,
                 "new names", out + err[-4000:])


def main():
    driver = Driver(__doc__)
    chains = driver.program("chains")
    env = driver.environment(RECTO_QUIET="1", RECTO_CKPT_COMPACT="150")
    bounds(driver, chains, range(1, 11) if driver.args.long else (1,))
    template, steps = template_make(driver, chains, env)
    kills(driver, chains, template, steps, env)
    failures(driver, chains, template, steps, env)
    names(driver, chains)
    hurries(driver, chains, range(1, 6) if driver.args.long else (1,))
    driver.end()


main()
