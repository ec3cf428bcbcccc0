#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that a power cut at any moment loses nothing that was reported as written.

A job of two ranks records every step of its checkpoints (RECTO_INJECT=trace=...). From
the record the folder is made again as a disk may hold it after a cut: what an fsync
vouched for is there; of everything else, writes, lengths, new names, renames and
removals, any part may be, in any order, writes also by single sectors. One process
then restarts from each of these folders (`victim check`, without mpirun), compares all
memory, goes on, and restarts again.

A step that was reported before the cut must be restored, or the one after it."""
import hashlib
import os
import random
import shutil
import struct
import subprocess
import tempfile

from common import Driver

RANKS = 2
SECTOR = 512
BATCH = 100
MKDIR, OPEN, ALLOCATE, WRITE, SYNC, RENAME, UNLINK = range(1, 8)
RECORD = struct.Struct("9Q")


class Step:
    """A recorded step; `file` is the identity of its file, None for names only."""

    def __init__(self, fields, name, to, data):
        (self.begin, self.end, self.kind, self.inode, self.offset, self.value,
         _, _, _) = fields
        self.name, self.to, self.data = name, to, data
        self.file = None
        self.creates = False
        self.truncates = False


def read_trace(folder):
    steps = []
    for rank in sorted(os.listdir(folder)):
        with open(os.path.join(folder, rank), "rb") as f:
            text = f.read()
        at = 0
        while at < len(text):
            fields = RECORD.unpack_from(text, at)
            at += RECORD.size
            parts = []
            for size in fields[6:]:
                parts.append(text[at:at + size])
                at += size
            steps.append(Step(fields, parts[0].decode(), parts[1].decode(),
                              parts[2]))
    return sorted(steps, key=lambda s: s.begin)


def identify(steps, folder_inode):
    """Gives files identities, since inode numbers come back; drops what does not
    concern the folder. The folder's own syncs get the identity "folder"."""
    names, files, count, kept = {}, {}, 0, []
    for s in steps:
        if s.kind == MKDIR or (s.kind == SYNC and s.value == 1 and
                               s.inode != folder_inode):
            continue
        if s.kind == OPEN:
            s.creates = bool(s.value & os.O_CREAT) and s.name not in names
            s.truncates = bool(s.value & os.O_TRUNC) and not s.creates
            if s.creates:
                count += 1
                files[s.inode] = names[s.name] = count
            elif not s.truncates:
                continue
        if s.kind == RENAME:
            s.file = names.pop(s.name)
            names[s.to] = s.file
        elif s.kind == UNLINK:
            if s.name not in names:
                continue
            s.file = names.pop(s.name)
        elif s.kind == SYNC and s.value == 1:
            s.file = "folder"
        else:
            s.file = files[s.inode]
        kept.append(s)
    return kept


def is_name(step):
    """Does it change the folder, not a file?"""
    return step.kind in (RENAME, UNLINK) or (step.kind == OPEN and
                                             step.creates)


def at_cut(steps, t):
    """(what must be there, what may be) at time t, in order."""
    synced = {}  # file -> begin of its last sync that was over
    for s in steps:
        if s.kind == SYNC and s.end <= t:
            synced[s.file] = max(s.begin, synced.get(s.file, 0))
    sure, maybe = [], []
    for s in steps:
        if s.kind == SYNC or s.begin > t:
            continue
        vouched = synced.get("folder" if is_name(s) else s.file, 0)
        (sure if s.end <= min(t, vouched) else maybe).append(s)
    return sure, maybe


def write(content, step, rng, torn):
    if len(content) < step.offset + len(step.data):
        content.extend(bytes(step.offset + len(step.data) - len(content)))
    if not torn:
        content[step.offset:step.offset + len(step.data)] = step.data
        return
    for at in range(0, len(step.data), SECTOR):
        if rng.random() < 0.5:
            part = step.data[at:at + SECTOR]
            content[step.offset + at:step.offset + at + len(part)] = part


def state_of(steps, chosen, rng, torn):
    """{name: content} after these steps; of `chosen` writes may be torn."""
    names, contents = {}, {}
    for s in steps:
        content = contents.setdefault(s.file, bytearray())
        if s.kind == OPEN:
            if s.creates:
                names[s.name] = s.file
            else:
                del content[:]
        elif s.kind == ALLOCATE and len(content) < s.offset:
            content.extend(bytes(s.offset - len(content)))
        elif s.kind == WRITE:
            write(content, s, rng, torn and id(s) in chosen)
        elif s.kind == RENAME:
            if names.get(s.name) == s.file:
                del names[s.name]
            names[s.to] = s.file
        elif s.kind == UNLINK and names.get(s.name) == s.file:
            del names[s.name]
    return {name: bytes(contents[file]) for name, file in names.items()}


def digest(state):
    h = hashlib.sha256()
    for name in sorted(state):
        if name != "lock":
            h.update(name.encode() + b"\0" +
                     hashlib.sha256(state[name]).digest())
    return h.hexdigest()


def states(steps, cuts, rng):
    """Yields (time, how, state) without end: first nothing and everything of what is
    open at each moment, then random parts."""
    shares = [0.0, 1.0]
    while True:
        for t in cuts:
            sure, maybe = at_cut(steps, t)
            for share in shares:
                torn = share not in (0.0, 1.0) and rng.random() < 0.5
                some = [s for s in maybe if rng.random() < share]
                chosen = {id(s) for s in some}
                there = {id(s) for s in sure} | chosen
                state = state_of([s for s in steps if id(s) in there], chosen,
                                 rng, torn)
                yield t, "%d of %d%s" % (len(some), len(maybe),
                                         ", torn" if torn else ""), state
        shares = [rng.choice([0.2, 0.5, 0.8])]


def lay_down(state, folder):
    os.mkdir(folder, 0o700)
    for name, content in state.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(content)


def judge(driver, victim, env, batch, area):
    """batch: [(folder, what, allowed)]."""
    listing = os.path.join(area, "folders.txt")
    with open(listing, "w", encoding="utf-8") as out:
        out.writelines(folder + "\n" for folder, _, _ in batch)
    done = subprocess.run([victim, "check", listing], env=env, text=True,
                          capture_output=True, timeout=900, check=False)
    if done.returncode != 0:
        driver.fail("restart from the folders", done.stderr[-4000:])
    answers = {}
    for line in done.stdout.splitlines():
        folder, _, answer = line.partition(" ")
        answers[folder] = answer
    for folder, what, allowed in batch:
        answer = answers.get(folder, "nothing")
        words = answer.split()
        step = int(words[1]) if words[0] not in ("error", "nothing") else None
        if driver.check(step in allowed, what, "%s instead of %s in %s\n%s" % (
                answer, sorted(allowed), folder, done.stderr[-2000:])):
            shutil.rmtree(folder)


def record(driver, victim, full, steps):
    folder = driver.path("recorded-%d" % full)
    trace = driver.path("trace-%d" % full)
    os.mkdir(trace)
    env = driver.environment(folder, RECTO_CKPT_FULL=str(full),
                             VICTIM_SHARED="1", VICTIM_TIMES="1",
                             RECTO_INJECT="trace=" + trace)
    code, out, err = driver.mpirun(RANKS, [victim, "run", str(steps)], env)
    if not driver.check(code == 0, "the recorded job", out + err):
        driver.end()
    reported = [(int(w[1]), int(w[2]))
                for w in (line.split() for line in out.splitlines())
                if w[0] == "at"]
    found = identify(read_trace(trace), os.stat(folder).st_ino)
    return found, reported


def scenario(driver, victim, full, steps, most, area, rng):
    """Tries `most` different folders."""
    trace, reported = record(driver, victim, full, steps)
    cuts = sorted({t for s in trace for t in (s.end, s.end - 1)})
    env = driver.environment(VICTIM_SHARED="1", RECTO_QUIET="1")
    seen, batch, tries, number = set(), [], 0, 0
    for t, how, state in states(trace, cuts, rng):
        tries += 1
        if len(seen) == most or tries > 50 * most:
            break
        before = [step for when, step in reported if when <= t]
        last = before[-1] if before else -1
        key = (digest(state), last)
        if key in seen:
            continue
        seen.add(key)
        folder = os.path.join(area, "%d-%d" % (full, number))
        number += 1
        lay_down(state, folder)
        what = "cut %.3f ms after the start, step %d was reported, there is " \
            "%s of what was open" % (1e-6 * (t - trace[0].begin), last, how)
        batch.append((folder, what, {last, last + 1}))
        if len(batch) == BATCH:
            judge(driver, victim, env, batch, area)
            batch = []
    if batch:
        judge(driver, victim, env, batch, area)
    print("%d different folders, %d cuts, %d steps recorded" % (
        len(seen), len(cuts), len(trace)))
    driver.check(len(seen) >= most, "enough different folders")


def main():
    driver = Driver(__doc__)
    victim = driver.program("victim")
    seed = int(os.environ.get("TEST_SEED", "7"))
    print("seed %d" % seed)
    rng = random.Random(seed)
    most = 10000 if driver.args.long else 600
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else driver.work
    area = tempfile.mkdtemp(prefix="recto-power-", dir=memory)
    try:
        scenario(driver, victim, 3, 9, most, area, rng)
        scenario(driver, victim, 16, 6, most, area, rng)
    finally:
        if not driver.failures and not driver.args.keep:
            shutil.rmtree(area, ignore_errors=True)
    driver.end()


if __name__ == "__main__":
    main()
