#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that `recto prune` and `recto compact` may be killed at any step, and that any
step may fail (EIO, ENOSPC, a short write): the folder verifies, has the epochs from
before or from after, the command does its work when it is given once more, and the
newest epoch restarts.

Quick: each label is hit twice, in ways that TEST_SEED draws; --long: every step in
every way."""
import os
import shutil
import subprocess

from common import Driver, seed_option

RANKS = 2
COMMANDS = {"prune": ["prune", "--keep", "last=2"], "newest": ["compact"],
            "within": ["compact", "6"], "deflated": ["compact", "--deflate"]}


class Case:
    """A command, a folder to which it is given, and what it should leave."""

    def __init__(self, driver, name, template, room):
        self.driver, self.name, self.template, self.room = driver, name, template, room
        self.words = COMMANDS[name]
        self.before = self.numbers(template)
        listing = driver.path(name + ".txt")
        folder = self.fresh("whole")
        code, err = self.run(folder, "count=" + listing)
        driver.check(code == 0, name, err)
        self.after = self.numbers(folder)
        with open(listing, encoding="utf-8") as lines:
            rows = [line.split() for line in lines]
        self.steps = [(int(number), label) for _, number, label in rows]

    def fresh(self, what):
        folder = os.path.join(self.room, "%s-%s" % (self.name, what))
        shutil.copytree(self.template, folder)
        return folder

    def numbers(self, folder):
        """{(epoch, kind)}"""
        _, listing, _ = self.driver.recto_json("ls", folder)
        return {(e["epoch"], e["kind"]) for e in listing["epochs"]}

    def run(self, folder, rule=""):
        done = subprocess.run(
            [self.driver.recto_path, self.words[0], folder, *self.words[1:]], text=True,
            env=self.driver.environment(RECTO_INJECT=rule), capture_output=True,
            timeout=120, check=False)
        return done.returncode, done.stderr

    def rules(self, rng):
        every = {}
        for number, label in self.steps:
            ways = [("before", "tear"), ("before", "short")] * label.endswith("-write")
            ways += [(when, do) for do in ("kill", "eio", "enospc")
                     for when in ("before", "after")]
            every.setdefault(label, []).extend(
                (number, label, when, do) for when, do in ways)
        return [rule for rules in every.values()
                for rule in (rules if self.driver.args.long else rng.sample(rules, 2))]

    def one(self, number, label, when, do):
        """The folder, after the command was hit and given again."""
        what = "%s: %s %s step %d, %s" % (self.name, do, when, number, label)
        folder = self.fresh("%d-%s-%s" % (number, when, do))
        code, err = self.run(folder, "point=%d,when=%s,do=%s" % (number, when, do))
        expected = (-9,) if do in ("kill", "tear") else (0,) if do == "short" else (0, 1)
        good = self.driver.check(code in expected, what, "%d %s" % (code, err))
        if code == 1:
            good &= self.driver.check(folder in err, what + ": the message names the folder",
                                      err)
        left = self.numbers(folder)
        good &= self.driver.check(
            self.verified(folder) and left in (self.before, self.after), what, str(left))
        code, err = self.run(folder)
        good &= self.driver.check(
            code == 0 and self.verified(folder) and self.numbers(folder) == self.after and
            not self.driver.strays(folder), what + ": once more",
            "%d %s %s" % (code, err, self.driver.strays(folder)))
        return folder, what, good

    def verified(self, folder):
        return self.driver.recto("verify", folder)[0] == 0


def commands(driver, room, rng):
    victim = driver.program("victim")
    template = driver.path("chains")
    env = driver.environment(template, RECTO_CKPT_FULL="3", RECTO_CKPT_KEEP="all")
    code, out, err = driver.mpirun(RANKS, [victim, "run", "10"], env)
    driver.check(code == 0, "template", out + err)
    folders = {}
    for name in COMMANDS:
        case = Case(driver, name, template, room)
        for rule in case.rules(rng):
            folder, what, good = case.one(*rule)
            if good:
                folders[folder] = what
    answers, err = driver.restart_all(RANKS, victim, folders)
    for folder, what in folders.items():
        driver.check(answers.get(folder) == "9 9", what + ": restart",
                     "%s\n%s" % (answers.get(folder), err[-2000:]))


def main():
    driver = Driver(__doc__, seed_option)
    with driver.room("commands") as room:
        commands(driver, room, driver.random())
    driver.end()


if __name__ == "__main__":
    main()
