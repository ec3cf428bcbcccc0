#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that with RECTO_RESTART=lazy damage that is found while the program runs ends
the job and says where, that the next start, lazy or not, goes back to an older epoch
and the one after its first checkpoint is lazy again; that a job killed at any read
leaves the folder as it was; and that restarts of a slow disk are right."""
import os
import shutil

import manifest
from common import Driver, seed_option

RANKS = 2
MARK = "lazy.damaged"


class Suite:
    def __init__(self, driver, victim, steps, more):
        self.driver = driver
        self.victim = victim
        self.more = dict(more, RECTO_RESTART="lazy")
        self.count = 0
        self.what = "%d steps %s: " % (steps, more)
        self.template = driver.path("template%d" % steps)
        code, out, err = self.run(self.template, steps)
        driver.check(code == 0, self.what + "template", out + err)
        self.epochs = manifest.read(self.template)

    def run(self, folder, steps, **more):
        env = self.driver.environment(folder, **{**self.more, **more})
        return self.driver.mpirun(RANKS, [self.victim, "run", str(steps)], env)

    def copy(self):
        self.count += 1
        folder = self.driver.path("case%d" % self.count)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.template, folder)
        return folder

    def restored(self, folder, epochs, what, **more):
        code, out, err = self.run(folder, 1, **more)
        good = code == 0 and any(
            "restored %d " % e in out for e in epochs)
        return self.driver.check(good, self.what + what, out + err[-3000:]), err

    def damaged(self, what, file, offset, epochs):
        """A flipped byte. It may be found before the program goes on, too; or never, in
        what a later log replaces, or where the page is zero and memory a hole: the
        victim compares all memory."""
        folder = self.copy()
        with open(os.path.join(folder, file), "r+b") as epoch:
            epoch.seek(offset)
            byte = epoch.read(1)[0]
            epoch.seek(offset)
            epoch.write(bytes([byte ^ 0x10]))
        code, out, err = self.run(folder, 1)
        marked = os.path.exists(os.path.join(folder, MARK))
        if code == 0:
            good = not marked and any("restored %d " % e.number in out
                                      for e in self.epochs)
            self.driver.check(good, self.what + what + ": went on", out + err)
            return False
        self.driver.check(marked and "RECTO_RESTART=lazy" in err and
                          "damaged" in err, self.what + what + ": the end",
                          out + err)
        self.restored(folder, epochs, what + ": the next start")
        self.driver.check(not os.path.exists(os.path.join(folder, MARK)),
                          self.what + what + ": the mark goes")
        after = manifest.read(folder)[-1].number
        _, err = self.restored(folder, {after}, what + ": the start after")
        self.driver.check("found damage" not in err, self.what + what + ": lazy")
        return True


def damages(suite):
    """In what the newest epoch is made of."""
    newest = suite.epochs[-1]
    files = [newest]
    if not newest.full:
        files.append([e for e in suite.epochs if e.full][-1])
    late = 0
    for epoch in files:
        for what, offset, size in epoch.places():
            if what.startswith(("data of", "sums of", "log pages")) and \
               not what.endswith("clock/step") and " private/" not in what:
                older = {e.number for e in suite.epochs
                         if e.number < newest.number}
                late += suite.damaged("%s of %s" % (what, epoch.file),
                                      epoch.file, offset + size // 2, older)
    suite.driver.check(late > 0, suite.what + "some damage was found late")


def kills(suite, rng, count):
    newest = suite.epochs[-1].number
    killed = 0
    for _ in range(count):
        folder = suite.copy()
        rule = "label=read,rank=%d,hit=%d,do=kill" % (rng.randrange(RANKS),
                                                      rng.randrange(1, 120))
        code, out, err = suite.run(folder, 0, RECTO_INJECT=rule)
        killed += code != 0
        suite.driver.check(not suite.driver.is_wrong(err), suite.what + rule,
                           out + err)
        suite.restored(folder, {newest}, rule)
    suite.driver.check(killed > 0, suite.what + "some were killed")


def slow(suite):
    newest = suite.epochs[-1].number
    suite.restored(suite.copy(), {newest}, "slow",
                   RECTO_INJECT="label=read,hit=0,do=slow,ms=2")


def main():
    driver = Driver(__doc__, seed_option)
    victim = driver.program("victim")
    rng = driver.random()
    settings = [(5, {}), (2, {"RECTO_NODE": "rank", "RECTO_TRANSPORT": "mpi"})]
    if driver.args.long:
        settings += [(5, {"RECTO_NODE": "rank", "RECTO_VM": "mprotect"}),
                     (6, {"RECTO_CKPT_COMPRESS": "zstd"})]
    for steps, more in settings:
        suite = Suite(driver, victim, steps, more)
        slow(suite)
        damages(suite)
        kills(suite, rng, 40 if driver.args.long else 6)
    driver.end()


main()
