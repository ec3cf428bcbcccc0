# SPDX-License-Identifier: BSD-3-Clause
"""Memory of a rank and work of a rank that no message shows, as formulas of
docs/scaling.md. Each entry says what it is sized by.

A job: `ranks`, `node_ranks` ranks on each node which is a domain, `homed` pages homed by
each rank, `held` pages of others that it has copies of, `segments`, `objects` in a
checkpoint (segments among them).
"""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Job:
    ranks: int
    node_ranks: int = 1
    homed: int = 262144  # pages: 1 GiB
    held: int = 4096
    segments: int = 10
    objects: int = 12
    inbox: int = 65536

    @property
    def nodes(self):
        return -(-self.ranks // self.node_ranks)

    @property
    def pages(self):  # of all segments
        return self.homed * self.ranks


# (what, sized by, bytes of a rank when its job has run for long)
MEMORY = [
    ("queue of messages", "constant", lambda j: 266240),
    ("inbox", "constant", lambda j: 64 + 8 * j.inbox),
    ("log of the domain", "constant", lambda j: 64 + 8 * j.inbox),
    ("differences: staging, arriving", "constant", lambda j: 2 * 512 * 4640),
    ("bounce buffers", "constant", lambda j: 64 * 4096),
    ("letters: 32 to be received, 32 under way (at most 4096); lists of notices",
     "constant", lambda j: 64 * (56 + 65536) + 2 * 16384 * 8),
    ("peers", "ranks", lambda j: 24 * j.ranks),
    ("views and machines of ranks: inboxes, objects, heap", "ranks",
     lambda j: (8 + 8 + 8 + 8 + 4 + 8 + 1) * j.ranks),
    ("releases that a rank tells of", "ranks", lambda j: 16 * j.ranks),
    ("releases that wait at one page, all of them", "ranks", lambda j: 12 * j.ranks),
    ("logs, groups and leaders of domains", "nodes", lambda j: (8 + 8 + 8 + 4) * j.nodes),
    ("versos and directories of domains, per segment", "nodes",
     lambda j: 16 * j.nodes * j.segments),
    ("page words, rights, flags, entries of pages homed", "pages homed",
     lambda j: (4 + 1 + 1 + 16) * j.homed),
    ("copies, twins, words, rights, flags, ring of pages held", "pages held",
     lambda j: (4096 + 4096 + 4 + 1 + 1 + 8) * j.held),
]

# The same at a moment of some call; * rank 0 only.
TRANSIENT = [
    ("recto_init: cards", "ranks", lambda j: 32 * j.ranks),
    ("checkpoint*: names of protected memory", "ranks x objects",
     lambda j: 488 * j.ranks * (j.objects - j.segments)),
    ("checkpoint*: table of pieces, twice, and its image", "ranks x objects",
     lambda j: 3 * 56 * j.ranks * j.objects),
    ("restart*: table of pieces of a file, twice", "ranks x objects",
     lambda j: 2 * 56 * j.ranks * j.objects),
    ("recto_migrate: claims, tables of homes", "ranks", lambda j: 130 * j.ranks),
    ("recto_migrate of all cyclic memory: runs", "pages homed",
     lambda j: 2 * 24 * j.pages // j.ranks),
]

# Sized by all pages of the job. (what, bytes or work of a rank, unit)
ALL_PAGES = [
    ("address space: recto, verso, twins, entries, words", "bytes reserved",
     lambda j: (3 * 4096 + 16 + 4) * j.pages),
    ("restart with a heap of so many pages: headers of its chunks", "bytes",
     lambda j: 8 * j.pages // 16),
]


def resident(job):
    return sum(f(job) for _, _, f in MEMORY)
