#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that epochs on the nodes' own disks come back exactly when their levels promise
it: every set of nodes is lost once, and replaced by empty ones, with local shares alone,
copies, parity (of one and of two nodes of a set), and intervals between; a
share is damaged, is missing, or is of another history; another number of ranks
restarts; and a job that is killed at any step of writing, copying, coding, rebuilding
and promoting restarts from what was committed. A node is a coherence domain here,
with a folder of its own."""
import glob
import itertools
import os
import shutil
import time

from common import Driver, seed_option

BASE = 1  # the newest epoch of the shared folder after a few steps
LAST = 5


class Case:
    """Levels, how many nodes, and the epoch that is left when some are lost."""

    def __init__(self, name, nodes, levels, code, left):
        self.name = name
        self.nodes = nodes
        self.levels = levels
        self.code = code
        self.left = left

    def environment(self, driver, folder, **more):
        settings = {
            "RECTO_CKPT_LOCAL": folder + ".n%d", "RECTO_NODE": "rank",
            "RECTO_CKPT_LEVELS": self.levels, "RECTO_CKPT_SET": self.code,
            # by one-sided puts, or through memory that is shared
            "RECTO_TRANSPORT": "mpi" if self.nodes == 4 else "auto",
            # and into memory at once, or while the program goes on
            "RECTO_RESTART": "lazy" if self.nodes % 2 else "eager"}
        return driver.environment(folder, **{**settings, **more})


def pairs(nodes, lost):
    """Is a node lost together with its partner, half-way round?"""
    return any((n + nodes // 2) % nodes in lost for n in lost)


def in_sets(nodes, sets, most, lost):
    """Are more than `most` nodes lost of one of the sets?"""
    return any(sum(n % sets == s for n in lost) > most for s in range(sets))


def cases():
    def choice(bad):
        return lambda lost: BASE if bad(lost) else LAST
    yield Case("local", 3, "local:1", "4+1", choice(bool))
    yield Case("partner 4", 4, "partner:1", "4+1", choice(lambda l: pairs(4, l)))
    yield Case("partner 3", 3, "partner:1", "4+1", choice(lambda l: pairs(3, l)))
    yield Case("xor 3+1", 4, "set:1", "3+1", choice(lambda l: in_sets(4, 1, 1, l)))
    yield Case("rs 3+2", 5, "set:1", "3+2", choice(lambda l: in_sets(5, 1, 2, l)))
    yield Case("two sets", 5, "set:1", "1+1", choice(lambda l: in_sets(5, 2, 1, l)))
    yield Case("cut to what there is", 3, "set:1", "8+2",
               choice(lambda l: in_sets(3, 1, 2, l)))
    yield Case("copies at times", 3, "partner:2", "4+1",
               lambda l: LAST if not l else BASE if pairs(3, l) else 4)
    yield Case("parity at times", 3, "set:3", "2+1",
               lambda l: LAST if not l else BASE if len(l) > 1 else 3)
    yield Case("shared at times", 3, "shared:3", "4+1",
               lambda l: 3 if l else LAST)
    yield Case("all", 4, "partner:2,set:4,shared:3", "3+1",
               lambda l: LAST if not l else 3 if pairs(4, l) and len(l) > 1 else 4)


def copy(source, target, nodes, lost=()):
    shutil.copytree(source, target)
    for n in range(nodes):
        if n not in lost and os.path.isdir("%s.n%d" % (source, n)):
            shutil.copytree("%s.n%d" % (source, n), "%s.n%d" % (target, n))


def write(driver, victim, case, folder, steps, **more):
    """The job is killed when it has done them: what ends in order is brought to the
    shared folder, where that is a level."""
    out, err = driver.mpirun(
        case.nodes, [victim, "run", str(steps)],
        case.environment(driver, folder, VICTIM_KILL="1", **more))[1:]
    last = max([int(line.split()[1]) for line in out.splitlines()
                if line.startswith("restored")], default=-1) + steps
    driver.check("written %d" % last in out, "%s: %d steps" % (case.name, steps),
                 out + err)
    return out + err


def ended(driver, victim):
    """A job that ended in order needs its nodes no more."""
    case = Case("ended", 3, "partner:1,shared:16", "4+1", None)
    folder = driver.path("ended")
    code, out, err = driver.mpirun(case.nodes, [victim, "run", "4"],
                                   case.environment(driver, folder))
    driver.check(code == 0, "ended: 4 steps", out + err)
    for n in range(case.nodes):
        shutil.rmtree("%s.n%d" % (folder, n))
    got, err = restart(driver, victim, case, [folder])
    expect(driver, case, got, folder, 3, "all nodes lost", err)


def restart(driver, victim, case, folders, ranks=None):
    """{folder: epoch that it restarts from}."""
    got, err = driver.restart_all(ranks or case.nodes, victim, folders,
                                  case.environment(driver, folders[0]))
    return {f: got.get(f, "nothing") for f in folders}, err


def expect(driver, case, got, folder, epoch, what, err=""):
    driver.check(got[folder] == "%d %d" % (epoch, epoch),
                 "%s, %s: epoch %d comes back" % (case.name, what, epoch),
                 got[folder] + "\n" + err[-3000:])


def losses(driver, victim, case, rng):
    folder = driver.path(case.name.replace(" ", "-"))
    write(driver, victim, case, folder, LAST + 1)
    every = [set(c) for n in range(case.nodes + 1)
             for c in itertools.combinations(range(case.nodes), n)]
    if not driver.args.long and len(every) > 9:
        every = [set()] + rng.sample(every[1:], 8)
    targets = {}
    for lost in every:
        target = folder + "-lost-" + "".join(map(str, sorted(lost)))
        copy(folder, target, case.nodes, lost)
        targets[target] = lost
    got, err = restart(driver, victim, case, list(targets))
    for target, lost in targets.items():
        expect(driver, case, got, target, case.left(lost),
               "lost %s" % (sorted(lost) or "none"), err)
    # where no piece is left nobody can know
    refused = any(case.left(lost) == BASE and len(lost) < case.nodes for lost in every)
    driver.check(not refused or "is lost: the share of node" in err,
                 case.name + ": what is lost is said", err[-3000:])


def pieces(folder, node, epoch, kind):
    where = "%s.n%d" % (folder, node)
    return [os.path.join(where, name) for name in os.listdir(where)
            if name.startswith("l%08d-" % epoch) and "." + kind in name]


def damage(driver, victim, rng):
    """A byte of a piece is wrong, a piece lacks its end, or is not there."""
    alone = Case("damaged, local", 3, "local:1", "4+1", None)
    coded = Case("damaged, parity", 4, "set:1", "2+2", None)
    for case, kinds, left in ((alone, "s", 3), (coded, "sp", LAST)):
        folder = driver.path(case.name.replace(", ", "-"))
        write(driver, victim, case, folder, LAST + 1)
        targets = []
        for number in range(24 if driver.args.long else 5):
            target = "%s-%d" % (folder, number)
            copy(folder, target, case.nodes)
            for kind in kinds:
                name = pieces(target, rng.randrange(case.nodes), 4, kind)[0]
                size = os.path.getsize(name)
                how = rng.choice(("byte", "byte", "byte", "end", "gone"))
                if how == "gone":
                    os.unlink(name)
                elif how == "end":
                    os.truncate(name, rng.randrange(size))
                else:
                    with open(name, "r+b") as file:
                        at = rng.randrange(size)
                        file.seek(at)
                        byte = file.read(1)[0]
                        file.seek(at)
                        file.write(bytes([byte ^ 1 << rng.randrange(8)]))
            targets.append(target)
        got, err = restart(driver, victim, case, targets)
        for target in targets:
            expect(driver, case, got, target, left, "damaged", err)


def stale(driver, victim):
    """A node comes back with what it had before: older epochs, or those of a branch
    that was left when the job restarted without it."""
    case = Case("stale", 3, "local:1", "4+1", None)
    folder = driver.path("stale")
    write(driver, victim, case, folder, 4)
    old = driver.path("stale-old")
    copy(folder, old, case.nodes)  # epochs 2 and 3
    # node 1 is lost: back to epoch 1, then another 2, 3, 4, 5
    shutil.rmtree(folder + ".n1")
    text = write(driver, victim, case, folder, 4)
    driver.check("restored 1 1" in text, "stale: the branch begins at 1", text)
    now = driver.path("stale-now")
    copy(folder, now, case.nodes)
    # node 1 has its old folder again; or old pieces beside the new ones
    shutil.rmtree(now + ".n1")
    shutil.copytree(old + ".n1", now + ".n1")
    both = driver.path("stale-both")
    copy(folder, both, case.nodes)
    for n in range(case.nodes):
        for name in os.listdir("%s.n%d" % (old, n)):
            shutil.copy(os.path.join("%s.n%d" % (old, n), name), "%s.n%d" % (both, n))
    got, err = restart(driver, victim, case, [now, both])
    expect(driver, case, got, now, BASE, "an old folder", err)
    expect(driver, case, got, both, 5, "old pieces beside new ones", err)


def elastic(driver, victim):
    """Nodes are fewer or more than wrote the epochs."""
    case = Case("elastic", 4, "partner:1,set:1", "3+1", None)
    folder = driver.path("elastic")
    write(driver, victim, case, folder, LAST + 1, VICTIM_SHARED="1")
    for ranks in (3, 2, 6):
        target = "%s-%d" % (folder, ranks)
        copy(folder, target, case.nodes, () if ranks == 6 else (3,))
        code, out, err = driver.mpirun(
            ranks, [victim, "run", "3"],
            case.environment(driver, target, VICTIM_SHARED="1"))
        # n3 is lost, and two ranks do not see n2: partners have their copies
        driver.check(code == 0 and "restored %d %d" % (LAST, LAST) in out,
                     "elastic: %d ranks" % ranks, out + err)
        code, out, err = driver.mpirun(
            ranks + 1, [victim, "run", "1"],
            case.environment(driver, target, VICTIM_SHARED="1"))
        driver.check(code == 0 and "restored %d" % (LAST + 3) in out,
                     "elastic: then %d ranks" % (ranks + 1), out + err)


def written(out):
    lines = [line.split() for line in out.splitlines()]
    return max([int(w[2]) for w in lines if w and w[0] in ("written", "restored")],
               default=-1)


def steps_of(driver, ranks, command, env, listing):
    """[(rank, number, label)] of the command's job."""
    code, out, err = driver.mpirun(ranks, command,
                                   dict(env, RECTO_INJECT="count=" + listing))
    driver.check(code == 0, "killed: it runs without", out + err)
    with open(listing, encoding="utf-8") as lines:
        rows = [line.split() for line in lines]
    return sorted((int(r), int(n), label) for r, n, label in rows)


def rules_of(rows):
    """[(rank, number, label, when, what is done there)]"""
    return [(rank, number, label, when, do) for rank, number, label in rows
            for when, do in [("before", "tear"), ("before", "short")] *
            label.endswith(("-write", "-index", "-end")) +
            [(when, do) for do in ("kill", "eio", "enospc")
             for when in ("before", "after")]]


def some(rules, rng, kills, errors):
    """So many of both."""
    dying = [r for r in rules if r[4] in ("kill", "tear")]
    return rng.sample(dying, kills) + rng.sample([r for r in rules if r not in dying],
                                                 errors)


def killed(driver, victim, rng):
    """Of three nodes with two ranks, two, and one: the job dies at any step of any
    rank, whatever it is to its node and to others, or the step fails and the job goes
    on, or ends in order."""
    case = Case("killed", 3, "partner:1,set:2,shared:4", "2+1", None)
    folder = driver.path("steps")
    rows = steps_of(driver, 5, [victim, "run", "6"], case.environment(
        driver, folder, RECTO_CKPT_MODE="sync", RECTO_NODE="2"), folder + ".txt")
    first = min(n for r, n, label in rows if r == 0 and label == "local-open")
    rules = rules_of(row for row in rows if row[0] != 0 or row[1] >= first)
    if not driver.args.long:
        rules = some(rules, rng, 6, 6)
    for number, (rank, point, label, when, do) in enumerate(rules):
        folder = driver.path("killed-%d" % number)
        rule = "rank=%d,point=%d,when=%s,do=%s" % (rank, point, when, do)
        after_kill(driver, victim, case, folder, "%s (%s)" % (rule, label),
                   driver.mpirun(5, [victim, "run", "6"], case.environment(
                       driver, folder, RECTO_INJECT=rule, RECTO_CKPT_MODE="sync",
                       RECTO_NODE="2")))


def after_kill(driver, victim, case, folder, what, job):
    """The next job goes on from the last step that was reported, or the one after."""
    _, out, err = job
    last = written(out)
    env = case.environment(driver, folder, RECTO_CKPT_MODE="sync", RECTO_NODE="2")
    code, again, more = driver.mpirun(5, [victim, "run", "3"], env)
    # the one that was under way may have been committed
    back = [int(line.split()[2]) for line in again.splitlines()
            if line.startswith("restored")] or [-1]
    if driver.check(code == 0 and last <= back[0] <= last + 1 and
                    "WRONG" not in err and not Driver.is_wrong(more), "killed: " + what,
                    out + err + again + more):
        for path in glob.glob(folder + "*"):
            shutil.rmtree(path)


def idle(driver, victim):
    """A rank dies that has nothing to do while others copy, code, or promote."""
    case = Case("idle", 3, "partner:1,set:2,shared:4", "2+1", None)
    for number, (label, pattern) in enumerate((("partner-write", ".n1/.tmp-l*.c*"),
                                               ("parity-write", ".n1/.tmp-l*.p*"),
                                               ("promote-write", "/.tmp-e00000002*"))):
        folder = driver.path("idle-%d" % number)
        pids = folder + "-pids"
        os.mkdir(pids)
        rule = "rank=2,label=%s,hit=0,do=slow,ms=900" % label
        process = driver.start(5, [victim, "run", "6"], case.environment(
            driver, folder, RECTO_INJECT=rule, RECTO_CKPT_MODE="sync", RECTO_NODE="2",
            RECTO_TEST_PIDS=pids))
        while not glob.glob(folder + pattern) and process.poll() is None:
            time.sleep(0.005)
        with open(os.path.join(pids, "3"), encoding="utf-8") as pid:
            driver.kill(3, int(pid.read()))
        code, out, err = driver.finish(process)
        driver.check(code not in (0, -1), "idle: the job dies: " + label, out + err)
        after_kill(driver, victim, case, folder, "an idle rank, " + label, (code, out, err))


def compacted(driver, victim):
    """Local epochs build on one of the shared folder that is made a full one."""
    case = Case("compacted", 3, "shared:3", "4+1", None)
    folder = driver.path("compacted")
    write(driver, victim, case, folder, LAST + 1)
    code, out, err = driver.recto("compact", folder)
    driver.check(code == 0 and "epoch 3 is a full one now" in out, "compacted", out + err)
    got, err = restart(driver, victim, case, [folder])
    expect(driver, case, got, folder, LAST, "the epoch below", err)


def listed(driver, victim):
    """recto ls --local says what the folders of nodes hold."""
    case = Case("listed", 4, "partner:2,set:3", "3+1", None)
    folder = driver.path("listed")
    write(driver, victim, case, folder, LAST + 1)
    folders = [w for n in range(case.nodes) for w in ("--local", "%s.n%d" % (folder, n))]
    code, listing, err = driver.recto_json("ls", folder, *folders)
    rows = [(e["epoch"], e["local"], e["partner"], e["set"], e["whole"])
            for e in listing["local"]]
    driver.check(code == 0 and rows == [(2, 4, 4, 4, True), (3, 4, 4, 4, True),
                                        (4, 4, 4, 0, True), (5, 4, 0, 0, True)],
                 "ls --local", "%s %s %s" % (code, rows, err))
    code, out, err = driver.recto("ls", folder, *folders[:4])
    words = [line.split() for line in out.splitlines()]
    driver.check(code == 0 and ["2", "4", "2", "2", "2", "yes"] in words and
                 ["5", "4", "2", "0", "0", "no"] in words, "ls of two nodes", out + err)
    name = pieces(folder, 0, 5, "s")[0]
    os.truncate(name, os.path.getsize(name) - 1)
    code, out, err = driver.recto("ls", folder, *folders)
    driver.check(code == 1 and "has no end" in err, "ls of a damaged piece", out + err)


def killed_restart(driver, victim, rng):
    """A node is lost; the restart that rebuilds its shares and promotes all dies, or a
    step fails, in any rank; the next one has everything still."""
    case = Case("killed at a restart", 4, "set:1", "3+1", None)
    folder = driver.path("again")
    write(driver, victim, case, folder, LAST + 1)
    shutil.rmtree(folder + ".n2")
    whole = folder + "-whole"
    copy(folder, whole, case.nodes)
    rows = steps_of(driver, case.nodes, [victim, "run", "0"],
                    case.environment(driver, whole), whole + ".txt")
    rules = rules_of(row for row in rows if row[2] != "lock-write")
    if not driver.args.long:
        rules = some(rules, rng, 4, 3)
    targets = {}
    for number, (rank, point, label, when, do) in enumerate(rules):
        target = "%s-%d" % (folder, number)
        copy(folder, target, case.nodes)
        rule = "rank=%d,point=%d,when=%s,do=%s" % (rank, point, when, do)
        code, out, err = driver.mpirun(
            case.nodes, [victim, "run", "0"],
            case.environment(driver, target, RECTO_INJECT=rule))
        what = "%s (%s)" % (rule, label)
        driver.check("WRONG" not in err and
                     (code != 0 if do in ("kill", "tear") else code != -1),
                     "it is hit: " + what, out + err)
        targets[target] = what
    got, err = restart(driver, victim, case, list(targets))
    for target, what in targets.items():
        expect(driver, case, got, target, LAST, "hit at " + what, err)


def main():
    driver = Driver(__doc__, seed_option)
    rng = driver.random()
    victim = driver.program("victim")
    for case in cases():
        losses(driver, victim, case, rng)
    ended(driver, victim)
    damage(driver, victim, rng)
    stale(driver, victim)
    elastic(driver, victim)
    listed(driver, victim)
    killed(driver, victim, rng)
    idle(driver, victim)
    compacted(driver, victim)
    killed_restart(driver, victim, rng)
    driver.end()


main()
