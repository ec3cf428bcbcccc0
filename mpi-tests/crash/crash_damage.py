#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that a flipped byte in any dataset or in the metadata, a truncated,
missing or replaced file and damaged manifests are detected by `recto verify`
and at restart, that all ranks take the same older epoch, and that it is the
independent one when the base of a chain is damaged. Never a wrong memory,
never a fresh start."""
import os
import shutil

import manifest
from common import Driver, seed_option

RANKS = 2


class Case:
    """A copy of a folder to damage; `allowed` are the answers of a restart."""

    def __init__(self, suite, what, allowed, detected=True):
        self.what = what
        self.allowed = allowed
        self.detected = detected
        self.folder = suite.driver.path("case%d" % len(suite.cases))
        shutil.copytree(suite.template, self.folder)
        suite.cases.append(self)

    def path(self, name):
        return os.path.join(self.folder, name)

    def flip(self, name, offset, bit=0x10):
        with open(self.path(name), "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ bit]))


class Suite:
    def __init__(self, driver, victim, steps, deflate=None):
        """deflate: the epoch that is compressed."""
        self.driver = driver
        self.victim = victim
        self.cases = []
        self.template = driver.path("template%d-%s" % (steps, deflate))
        code, out, err = driver.mpirun(RANKS, [victim, "run", str(steps)],
                                       driver.environment(self.template))
        driver.check(code == 0, "template", out + err)
        if deflate is not None:
            code, out, err = driver.recto("compact", self.template, str(deflate),
                                          "--deflate")
            driver.check(code == 0, "template", out + err)
        self.epochs = manifest.read(self.template)

    def judge(self):
        for case in self.cases:
            code, out, err = self.driver.recto("verify", case.folder)
            seen = code != 0
            self.driver.check(seen == case.detected,
                              case.what + ": recto verify", out + err)
        answers, err = self.driver.restart_all(
            RANKS, self.victim, [case.folder for case in self.cases])
        for case in self.cases:
            answer = answers.get(case.folder, "nothing").split()
            answer = answer[1] if answer[0] == "error" else answer[0]
            self.driver.check(
                answer in case.allowed, case.what,
                "restart: %s instead of %s\n%s" % (answer, case.allowed,
                                                   err[-2000:]))
            shutil.rmtree(case.folder, ignore_errors=True)


def newest_epoch(suite):
    """Damage in the newest file: the epoch before is taken."""
    last = suite.epochs[-1]
    allowed = {str(last.number - 1)}
    places = last.places()
    if last.full and last.fields["blocks_at"] != "0":
        places += [("chunk %d" % i, *place)
                   for i, place in enumerate(last.chunks(suite.template))]
    for what, offset, size in places:
        for where in (0, size // 2, size - 1):
            case = Case(suite, "newest: byte %d of %s" % (where, what), allowed)
            case.flip(last.file, offset + where)
    case = Case(suite, "newest: superblock", allowed)
    case.flip(last.file, 9)
    case = Case(suite, "newest: last byte", allowed)
    case.flip(last.file, last.length - 1)
    return allowed


def files(suite, allowed):
    last = suite.epochs[-1]
    for length in (0, 1, last.length // 2, last.length - 1, last.length + 1):
        case = Case(suite, "newest: length %d" % length, allowed)
        os.truncate(case.path(last.file), length)
    case = Case(suite, "newest: missing", allowed)
    os.unlink(case.path(last.file))
    case = Case(suite, "newest: a folder", allowed)
    os.unlink(case.path(last.file))
    os.mkdir(case.path(last.file))
    case = Case(suite, "newest: a pipe", allowed)
    os.unlink(case.path(last.file))
    os.mkfifo(case.path(last.file))
    case = Case(suite, "newest: the file of another epoch", allowed)
    shutil.copy(case.path(suite.epochs[-2].file), case.path(last.file))
    case = Case(suite, "all files missing", {"RECTO_ECORRUPT"})
    for epoch in suite.epochs:
        os.unlink(case.path(epoch.file))


def manifests(suite):
    newest = {str(suite.epochs[-1].number)}
    none = {"RECTO_ECORRUPT"}
    size = os.path.getsize(os.path.join(suite.template, "manifest"))
    for name in ("manifest", "manifest.copy"):
        for where in (0, 16, size // 2, size - 2):
            case = Case(suite, "%s: byte %d" % (name, where), newest)
            case.flip(name, where)
        case = Case(suite, "%s: truncated" % name, newest)
        os.truncate(case.path(name), size // 2)
        case = Case(suite, "%s: empty" % name, newest)
        os.truncate(case.path(name), 0)
        case = Case(suite, "%s: missing" % name, newest, detected=False)
        os.unlink(case.path(name))
    case = Case(suite, "both manifests flipped", none)
    case.flip("manifest", size // 3)
    case.flip("manifest.copy", size // 2)
    case = Case(suite, "both manifests missing", none)
    os.unlink(case.path("manifest"))
    os.unlink(case.path("manifest.copy"))
    case = Case(suite, "one manifest damaged, one missing", none)
    case.flip("manifest", size // 3)
    os.unlink(case.path("manifest.copy"))


def stale(suite):
    """A manifest of yesterday beside the new one, or in its place."""
    newest = suite.epochs[-1].number
    later = suite.driver.path("later")
    shutil.copytree(suite.template, later)
    code, out, err = suite.driver.mpirun(RANKS, [suite.victim, "run", "1"],
                                         suite.driver.environment(later))
    suite.driver.check(code == 0, "one more epoch", out + err)
    last = manifest.read(later)[-1]
    for names, missing, allowed in (
            (("manifest",), False, newest + 1),
            (("manifest.copy",), False, newest + 1),
            (("manifest", "manifest.copy"), False, newest),
            (("manifest",), True, newest),
            (("manifest.copy",), True, newest)):
        case = Case(suite, "stale: %s%s" % (
            " and ".join(names), ", newest file missing" * missing),
            {str(allowed)}, detected=missing)
        shutil.copy(os.path.join(later, last.file), case.path(last.file))
        for name in ("manifest", "manifest.copy"):
            if name not in names:
                shutil.copy(os.path.join(later, name), case.path(name))
        if missing:
            os.unlink(case.path(last.file))


def base_epoch(suite):
    """Damage in the full epoch under the newest one: the chain before it,
    which shares no file with it, is taken."""
    base = [e for e in suite.epochs if e.full][-1]
    before = {str(base.number - 1)}
    for what, offset, _ in base.places():
        if what.startswith("data of private") or "clock" in what:
            continue
        # Page 0 changes in steps 0 and 3: epoch 2 takes it from the base.
        case = Case(suite, "base: %s" % what, before)
        case.flip(base.file, offset + 5)
    case = Case(suite, "base: missing", before)
    os.unlink(case.path(base.file))
    case = Case(suite, "base: truncated", before)
    os.truncate(case.path(base.file), base.length - 1)
    case = Case(suite, "base and the chain before damaged", {"RECTO_ECORRUPT"})
    for epoch in suite.epochs:
        if epoch.full:
            case.flip(epoch.file, epoch.places()[1][1] + 5)
    for i, (offset, size) in enumerate(base.chunks(suite.template)):
        case = Case(suite, "base: chunk %d" % i, before)
        case.flip(base.file, offset + size // 2)


def anywhere(suite, rng, count):
    """Random bytes of random files: found by verify; any older epoch is
    good, as long as the memory is its own, which the victim checks."""
    numbers = {str(e.number) for e in suite.epochs}
    for _ in range(count):
        epoch = rng.choice(suite.epochs)
        where = rng.randrange(epoch.length)
        case = Case(suite, "epoch %d: byte %d" % (epoch.number, where),
                    numbers)
        case.flip(epoch.file, where, 1 << rng.randrange(8))


def main():
    driver = Driver(__doc__, seed_option)
    victim = driver.program("victim")
    rng = driver.random()
    # the newest is differential, full, full and compressed
    for steps, deflate in ((5, None), (2, None), (2, 1)):
        suite = Suite(driver, victim, steps, deflate)
        allowed = newest_epoch(suite)
        files(suite, allowed)
        if steps == 5:
            manifests(suite)
            stale(suite)
            anywhere(suite, rng, 500 if driver.args.long else 30)
        suite.judge()
    for deflate in (None, 1):
        suite = Suite(driver, victim, 3, deflate)
        base_epoch(suite)
        suite.judge()
    driver.end()


main()
