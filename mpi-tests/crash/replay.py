# SPDX-License-Identifier: BSD-3-Clause
"""Replays recorded steps (RECTO_INJECT=trace=FOLDER, src/ckpt/inject.h): what the disks
may hold after a power cut at any moment. What an fsync vouched for is there; of
everything else, writes, lengths, new names, renames and removals, any part may be, in
any order, writes also by single sectors."""
import hashlib
import os
import struct

SECTOR = 512
MKDIR, OPEN, ALLOCATE, WRITE, SYNC, RENAME, UNLINK = range(1, 8)
RECORD = struct.Struct("10Q")


class Step:
    """A recorded step; `file` is the identity of its file, of a sync perhaps a folder's
    name; `folder` the name of the folder in which its own name is."""

    def __init__(self, fields, name, to, data):
        (self.begin, self.end, self.kind, self.inode, self.folder, self.offset,
         self.value, _, _, _) = fields
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
            for size in fields[7:]:
                parts.append(text[at:at + size])
                at += size
            steps.append(Step(fields, parts[0].decode(), parts[1].decode(),
                              parts[2]))
    return sorted(steps, key=lambda s: s.begin)


class Recording:
    """`folders`: {name: path} of the folders that were written to, as they are now;
    `before`: what was there when the recording began, as before() gives it."""

    def __init__(self, trace, folders, before=None):
        self.first = before or {}
        names = {os.stat(path).st_ino: name for name, path in folders.items()}
        self.steps = self.identify(read_trace(trace), names)
        self.cuts = sorted({t for s in self.steps for t in (s.end, s.end - 1)})
        self.whole = self.contents(self.steps)

    @staticmethod
    def before(folders):
        """{(folder, name): (inode, content)}"""
        found = {}
        for folder, path in folders.items():
            for name in os.listdir(path):
                with open(os.path.join(path, name), "rb") as f:
                    found[folder, name] = os.fstat(f.fileno()).st_ino, f.read()
        return found

    def identify(self, steps, folders):
        """Gives files identities, since inode numbers come back; drops what does not
        concern the folders."""
        names, files, count, kept = {}, {}, 0, []
        for name, (inode, _) in self.first.items():
            files[inode] = names[name] = name
        for s in steps:
            if s.kind == MKDIR or (s.kind == SYNC and s.value == 1 and
                                   s.inode not in folders):
                continue
            s.folder = folders.get(s.folder)
            name = (s.folder, s.name)
            if s.kind == OPEN:
                s.creates = bool(s.value & os.O_CREAT) and name not in names
                s.truncates = bool(s.value & os.O_TRUNC) and not s.creates
                if s.creates:
                    count += 1
                    files[s.inode] = names[name] = count
                elif not s.truncates:
                    continue
            if s.kind == RENAME:
                s.file = names.pop(name)
                names[s.folder, s.to] = s.file
            elif s.kind == UNLINK:
                if name not in names:
                    continue
                s.file = names.pop(name)
            elif s.kind == SYNC and s.value == 1:
                s.file = folders[s.inode]
            else:
                s.file = files[s.inode]
            kept.append(s)
        return kept

    def contents(self, steps):
        """{file: all that was ever in it}"""
        found = {name: bytearray(c) for name, (_, c) in self.first.items()}
        for s in steps:
            if not is_name(s) and s.kind != SYNC:
                apply(found.setdefault(s.file, bytearray()), s, None)
        return found

    def at_cut(self, t):
        """(what must be there, what may be) at time t, in order."""
        synced = {}  # file -> begin of its last sync that was over
        for s in self.steps:
            if s.kind == SYNC and s.end <= t:
                synced[s.file] = max(s.begin, synced.get(s.file, 0))
        sure, maybe = [], []
        for s in self.steps:
            if s.kind == SYNC or s.begin > t:
                continue
            vouched = synced.get(s.folder if is_name(s) else s.file, 0)
            (sure if s.end <= min(t, vouched) else maybe).append(s)
        return sure, maybe

    def state_of(self, steps, chosen, torn):
        """{(folder, name): (file, content)} after these steps; `torn`: random numbers by
        which those that are chosen are torn, or None."""
        names = {name: name for name in self.first}
        found = {name: c for name, (_, c) in self.first.items()}
        for s in steps:
            content = found.get(s.file, b"")
            if isinstance(content, bytes) and not is_name(s):  # the first to change it
                content = found[s.file] = bytearray(content)
            name = (s.folder, s.name)
            if s.kind == OPEN and s.creates:
                names[name] = s.file
            elif s.kind in (RENAME, UNLINK):
                if names.get(name) == s.file:
                    del names[name]
                if s.kind == RENAME:
                    names[s.folder, s.to] = s.file
            else:
                apply(content, s, torn if id(s) in chosen else None)
        return {name: (file, found.get(file, b"")) for name, file in names.items()}

    def states(self, rng):
        """Yields (time, how, state) without end: at moments in random order nothing,
        everything, and a random part of what is open."""
        while True:
            for t in rng.sample(self.cuts, len(self.cuts)):
                sure, maybe = self.at_cut(t)
                for share in (0.0, 1.0, rng.choice((0.2, 0.5, 0.8))):
                    torn = share not in (0.0, 1.0) and rng.random() < 0.5
                    some = [s for s in maybe if rng.random() < share]
                    chosen = {id(s) for s in some}
                    there = {id(s) for s in sure} | chosen
                    state = self.state_of([s for s in self.steps if id(s) in there],
                                          chosen, rng if torn else None)
                    yield t, "%d of %d%s" % (len(some), len(maybe),
                                             ", torn" if torn else ""), state

    def digest(self, state):
        h = hashlib.sha256()
        for folder, name in sorted(state):
            file, content = state[folder, name]
            first = self.first.get(file, (0, None))[1]
            if name != "lock":
                h.update(("%s/%s %s\0" % (folder, name, file if content is first else
                                          "")).encode())
                h.update(b"" if content is first else hashlib.sha256(content).digest())
        return h.hexdigest()

    def intact(self, state, name):
        """Is the file there, as it was written?"""
        return name in state and state[name][1] == self.whole[state[name][0]]


def is_name(step):
    """Does it change the folder, not a file?"""
    return step.kind in (RENAME, UNLINK) or (step.kind == OPEN and step.creates)


def apply(content, step, torn):
    """What a step does to the content of its file."""
    if step.kind == OPEN:
        del content[:]
    elif step.kind == ALLOCATE and len(content) < step.offset:
        content.extend(bytes(step.offset - len(content)))
    elif step.kind == WRITE:
        end = step.offset + len(step.data)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        if torn is None:
            content[step.offset:end] = step.data
            return
        for at in range(0, len(step.data), SECTOR):
            if torn.random() < 0.5:
                part = step.data[at:at + SECTOR]
                content[step.offset + at:step.offset + at + len(part)] = part


def lay_down(state, folders):
    """folders: {name: path}; several may have one path."""
    for path in set(folders.values()):
        os.mkdir(path, 0o700)
    for (folder, name), (_, content) in state.items():
        if folder in folders:
            with open(os.path.join(folders[folder], name), "wb") as f:
                f.write(content)
