# SPDX-License-Identifier: BSD-3-Clause
"""Release consistent pages between ranks that share no memory: fetches, releases,
notices, locks and atomics, message by message as src/coherence/rel_far.c and
src/sync/object.c send them.

Designs. `today`: the answer to a fetch carries the data, a release's differences for
a home go with one message and its notices for a rank in one; the home answers the
writer when all of these are acknowledged, and those of other releases of the same pages
that were on their way. `single`, as it was before: a fetch is request, answer and
one-sided read, differences are read by the home, a notice is a message for each page
and holder, whose acknowledgement is passed on to the writer, and releases send again what
is on its way.

Directories. Who is told when a page is released:
  pointers  up to 62 ranks a bit each; of more the numbers of some, as many as fit into 61
            bits, else 61 groups (src/coherence/sharers.h)
  groups    62 bits, each for a group of ranks/62 ranks, as it was before
  exact     a bit for each rank, which would take memory by ranks x pages
"""
import dataclasses

MESSAGE = 56
PAGE = 4096
RECORD = 16 + 24  # a page's difference of one word
NOTICE = 4  # of a page, in a message
BITS = 62


@dataclasses.dataclass(eq=False)
class Page:
    home: int
    sharers: set
    telling: set = dataclasses.field(default_factory=set)
    notices: int = 0
    waiting: list = dataclasses.field(default_factory=list)


class Directory:
    def __init__(self, kind, ranks, node_ranks=1):
        self.kind = kind
        self.ranks = ranks
        self.node_ranks = node_ranks
        self.groups = BITS if kind == "groups" else BITS - 1
        self.per_group = -(-ranks // self.groups)
        self.numbers = (BITS - 1) // ranks.bit_length()

    def node(self, rank):
        return rank // self.node_ranks

    def told(self, page, writer):
        """Ranks that get a notice, the holders and those taken for some."""
        known = page.sharers | page.telling  # telling: only if single
        if self.ranks > BITS and (
                self.kind == "groups"
                or (self.kind == "pointers" and len(known) > self.numbers)):
            known = {r for g in {k // self.per_group for k in known}
                     for r in range(g * self.per_group,
                                    min((g + 1) * self.per_group, self.ranks))}
        skip = (self.node(page.home), self.node(writer))
        return sorted(r for r in known if self.node(r) not in skip)


class Memory:
    def __init__(self, machine, directory, single=False):
        self.m = machine
        self.d = directory
        self.single = single
        self.inbox = [0] * machine.ranks  # notices since the last acquire
        self.notices = 0

    # ---- fetch ------------------------------------------------------------------

    def fetch(self, rank, page, done, *args):
        self.m.post(rank, page.home, MESSAGE, self._serve, rank, page, done, args)

    def _serve(self, rank, page, done, args):
        page.sharers.add(rank)
        size = MESSAGE if self.single else MESSAGE + PAGE
        self.m.post(page.home, rank, size, self._served, rank, page, done, args)

    def _served(self, rank, page, done, args):
        if self.single:
            self.m.get(rank, page.home, PAGE, done, *args)
        else:
            done(*args)

    # ---- release ----------------------------------------------------------------

    def release(self, writer, pages, done, *args):
        """`writer` has written the pages. `done(*args)` when all who held them have
        a notice in their inbox."""
        wait = {"left": 1, "call": (done, args)}
        homes = {}
        for page in pages:
            homes.setdefault(page.home, []).append(page)
        for home, some in homes.items():
            wait["left"] += 1
            if home == writer:
                self._tell(home, writer, some, wait)
            elif self.single:
                self.m.post(writer, home, MESSAGE, self._differences, home, writer,
                            some, wait)
            else:  # through the own service thread, which may send data
                self.m.post(writer, writer, MESSAGE, self.m.post, writer, home,
                            MESSAGE + RECORD * len(some), self._tell, home, writer,
                            some, wait)
        self._settle(wait)

    def _settle(self, wait):
        wait["left"] -= 1
        if wait["left"] == 0:
            done, args = wait["call"]
            done(*args)

    def _differences(self, home, writer, pages, wait):
        self.m.get(home, writer, RECORD * len(pages), self._tell, home, writer, pages,
                   wait)

    def _tell(self, home, writer, pages, wait):
        targets = {}
        task = wait if self.single else {"left": 1, "call": (self._told, (home, writer, wait))}
        for page in pages:
            told = self.d.told(page, writer)
            page.sharers &= {r for r in page.sharers
                             if self.d.node(r) == self.d.node(writer)}
            if self.single:
                page.telling |= set(told)
            elif page.notices:
                task["left"] += 1
                page.waiting.append(task)
            page.notices += len(told)
            self.notices += len(told)
            for rank in told:
                targets.setdefault(rank, []).append(page)
        if self.single or home != writer or not targets:
            self._notices(home, writer, targets, task)
        else:
            self.m.post(home, home, MESSAGE, self._notices, home, writer, targets, task)

    def _told(self, home, writer, wait):
        """All that a release has for a home is done."""
        if home == writer:
            self._settle(wait)
        else:
            self.m.post(home, writer, MESSAGE, self._settle, wait)

    def _notices(self, home, writer, targets, task):
        for rank, some in targets.items():
            for pages in [[page] for page in some] if self.single else [some]:
                task["left"] += 1
                self.m.post(home, rank, self._size(pages), self._noticed, home, rank,
                            writer, pages, task)
        if self.single:
            self._told(home, writer, task)
        else:
            self._settle(task)

    def _size(self, pages):
        return MESSAGE + (0 if self.single else NOTICE * len(pages))

    def _noticed(self, home, rank, writer, pages, task):
        self.inbox[rank] += len(pages)
        self.m.post(rank, home, self._size(pages), self._acknowledged, home, writer,
                    pages, task)

    def _acknowledged(self, home, writer, pages, task):
        for page in pages:
            page.notices -= 1
            if page.notices == 0:
                page.telling.clear()
                joined, page.waiting = page.waiting, []
                for other in joined:
                    self._settle(other)
        if self.single:
            self._told(home, writer, task)
        else:
            self._settle(task)

    # ---- asked and answered: atomics, and a lock with its queue ------------------------

    def ask(self, rank, home, done, *args):
        if rank == home:
            done(*args)
        else:
            self.m.post(rank, home, MESSAGE, self.m.post, home, rank, MESSAGE, done,
                        *args)


class Lock:
    """One lock at `home`; waiters are served in the order of asking."""

    def __init__(self, memory, home):
        self.memory = memory
        self.home = home
        self.held = False
        self.queue = []

    def _send(self, source, target, call, *args):
        if source == target:
            call(*args)
        else:
            self.memory.m.post(source, target, MESSAGE, call, *args)

    def take(self, rank, done):
        self._send(rank, self.home, self._asked, rank, done)

    def _asked(self, rank, done):
        if self.held:
            self.queue.append((rank, done))
        else:
            self.held = True
            self._send(self.home, rank, done)

    def give(self, rank, done):
        self._send(rank, self.home, self._given, rank, done)

    def _given(self, rank, done):
        if self.queue:
            next_rank, granted = self.queue.pop(0)
            self._send(self.home, next_rank, granted)
        else:
            self.held = False
        self._send(self.home, rank, done)
