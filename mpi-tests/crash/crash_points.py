#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that a rank may be killed (SIGKILL) before and after every write,
fsync, rename and unlink of a checkpoint, and in the middle of every write, and
the job restarts from the epoch before or the new one with exactly its memory.

Scenarios: the first checkpoint of all, a differential one, and a full one that
removes an old chain. The steps are enumerated by a run without faults. Quick
choice: of steps that follow each other under one label the first and the last;
--long: all."""
import os
import shutil

from common import Driver, prepare

RANKS = 2
WRITES = ("data-write", "sums-write", "index-write", "meta-write",
          "manifest-write", "copy-write")


def points(driver, victim, template, env):
    """[(rank, number, label)] of one checkpoint after a restart."""
    folder = driver.path("count")
    listing = driver.path("count.txt")
    prepare(template, folder)
    if os.path.exists(listing):
        os.unlink(listing)
    code, out, err = driver.mpirun(
        RANKS, [victim, "run", "1"],
        dict(env, RECTO_CKPT_DIR=folder, RECTO_INJECT="count=" + listing))
    if not driver.check(code == 0, "run without faults", out + err):
        driver.end()
    with open(listing, encoding="utf-8") as lines:
        rows = [line.split() for line in lines]
    return sorted((int(r), int(n), label) for r, n, label in rows)


def chosen(rows, everything):
    """Drops the middle of steps that repeat, and the release of the lock."""
    written = max(n for r, n, label in rows if r == 0 and label == "copy-dir")
    keep = []
    for i, row in enumerate(rows):
        rank, number, label = row
        after = [x for x in rows if x[0] == 0 and x[1] > written]
        if label == "lock-write" and row == after[-1]:
            continue  # at recto_finalize
        same_before = i > 0 and rows[i - 1][::2] == (rank, label)
        same_after = i + 1 < len(rows) and rows[i + 1][::2] == (rank, label)
        if everything or not (same_before and same_after):
            keep.append(row)
    return keep


def rules(rows):
    for rank, number, label in rows:
        for when in ("before", "after"):
            yield rank, number, label, when, "kill"
        if label in WRITES:
            yield rank, number, label, "before", "tear"


def place(rows, rank, number, label):
    """Steps are found by their label: how many writes of pages there are depends on
    what the program overwrites meanwhile. So of these one in the middle is the last."""
    hit = sum(1 for r, n, l in rows if r == rank and l == label and n <= number)
    if label == "data-write":
        hit = (hit + 1) // 2
    return "label=%s,hit=%d" % (label, hit)


def scenario(driver, victim, name, steps, full):
    template = driver.path(name)
    env = driver.environment(RECTO_CKPT_FULL=str(full))
    if steps > 0:
        code, out, err = driver.mpirun(RANKS, [victim, "run", str(steps)],
                                       dict(env, RECTO_CKPT_DIR=template))
        driver.check(code == 0, name + ": template", out + err)
    rows = points(driver, victim, template, env)
    commit = min(n for r, n, label in rows
                 if r == 0 and label == "manifest-rename" and
                 n > max(m for s, m, what in rows
                         if s == 0 and what == "epoch-rename"))
    folders = {}
    for i, (rank, number, label, when, do) in enumerate(
            rules(chosen(rows, driver.args.long))):
        folder = driver.path("%s-%d" % (name, i))
        what = "%s: rank %d %s %s %s (step %d)" % (name, rank, do, when, label,
                                                   number)
        prepare(template, folder)
        rule = "rank=%d,%s,when=%s,do=%s" % (
            rank, place(rows, rank, number, label), when, do)
        code, out, err = driver.mpirun(
            RANKS, [victim, "run", "1"],
            dict(env, RECTO_CKPT_DIR=folder, RECTO_INJECT=rule))
        if code == 0 or code == -1 or driver.is_wrong(err):
            driver.fail(what + ": the job was not killed as it should be",
                        out + err)
        # Rank 0's manifest rename is the commit point; another rank that
        # dies leaves it open how far rank 0 came.
        if rank != 0:
            allowed = {steps - 1, steps}
        elif number > commit or (number == commit and when == "after"):
            allowed = {steps}
        else:
            allowed = {steps - 1}
        folders[folder] = (what, allowed)
    judge(driver, victim, env, folders)


def judge(driver, victim, env, folders):
    """What each killed job left must restore to a step it may have reached."""
    answers, _ = driver.restart_all(RANKS, victim, folders, env)
    steps = {folder: int(words.split()[1])
             for folder, words in answers.items() if "error" not in words}
    for folder, (what, allowed) in folders.items():
        good = driver.check(steps.get(folder) in allowed, what,
                            "step %s instead of %s in %s" % (
                                steps.get(folder), allowed, folder))
        if good and os.path.isdir(folder):
            left = driver.strays(folder)
            if left:
                driver.fail(what + ": files left behind", str(left))
        if good:
            shutil.rmtree(folder, ignore_errors=True)


def main():
    driver = Driver(__doc__)
    victim = driver.program("victim")
    scenario(driver, victim, "first", 0, 16)
    scenario(driver, victim, "diff", 3, 16)
    scenario(driver, victim, "full", 5, 2)
    driver.end()


main()
