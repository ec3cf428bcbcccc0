# SPDX-License-Identifier: BSD-3-Clause
"""What a job does, and what it costs then. Each function runs one situation and
returns a Result."""
import dataclasses
import random

import machine
from machine import Allreduce, Machine
from release import MESSAGE, Directory, Lock, Memory, Page
from tables import Job

AGREEMENT = 56
VERDICT = 8


@dataclasses.dataclass
class Result:
    time: float  # us
    mean: float  # control messages of a rank
    most: int  # of the busiest
    bytes: int  # in and out of the busiest
    wait: float = 0.0  # longest for a service thread, us
    notes: dict = dataclasses.field(default_factory=dict)


def result(m, time, **notes):
    return Result(time, sum(m.sent) / m.ranks, max(m.sent), max(m.bytes), m.longest,
                  notes)


@dataclasses.dataclass(frozen=True)
class Setting:
    network: machine.Network
    directory: str = "pointers"
    single: bool = False
    node_ranks: int = 1
    seed: int = 1

    def memory(self, ranks):
        m = Machine(ranks, self.network)
        return m, Memory(m, Directory(self.directory, ranks, self.node_ranks),
                         self.single)


def barrier(setting, ranks):
    """Nothing written; ranks come within 10 us of each other."""
    m = Machine(ranks, setting.network)
    rng = random.Random(setting.seed)
    a = Allreduce(m, AGREEMENT, lambda rank: None)
    for r in range(ranks):
        m.at(rng.random() * 10.0, a.enter, r)
    time = m.run()
    return Result(time, 0, 0, max(m.bytes),
                  notes={"inside MPI, of a rank": max(m.collective)})


def neighbours(setting, ranks):
    """Every rank writes a page of its own that one other holds, each another; anywhere,
    so that holders are no neighbours. Then a barrier, then they read them again."""
    m, mem = setting.memory(ranks)
    circle = list(range(ranks))
    random.Random(setting.seed).shuffle(circle)
    owned = [None] * ranks
    readers = [[] for _ in range(ranks)]
    for home, holder in zip(circle, circle[1:] + circle[:1]):
        owned[home] = Page(home, {holder})
        readers[holder].append(owned[home])
    ended = []

    def met(rank):
        ended.append(m.now)
        for page in readers[rank]:
            mem.fetch(rank, page, lambda: None)

    a = Allreduce(m, AGREEMENT, met)
    for r in range(ranks):
        m.at(0.0, mem.release, r, [owned[r]], a.enter, r)
    m.run()
    return result(m, m.now, barrier=max(ended), notices=mem.notices / ranks)


def hot_page(setting, ranks, pages=1):
    """Rank 0 writes pages that all hold, a barrier, all read them again."""
    m, mem = setting.memory(ranks)
    some = [Page(0, set(range(1, ranks))) for _ in range(pages)]

    def met(rank):
        if rank:
            for page in some:
                mem.fetch(rank, page, lambda: None)

    a = Allreduce(m, AGREEMENT, met)
    m.at(0.0, mem.release, 0, some, a.enter, 0)
    for r in range(1, ranks):
        m.at(0.0, a.enter, r)
    m.run()
    return result(m, m.now, notices=mem.notices / ranks)


def all_write(setting, ranks):
    """One page of rank 0 that all hold and write, and release at once."""
    m, mem = setting.memory(ranks)
    page = Page(0, set(range(1, ranks)))
    a = Allreduce(m, AGREEMENT, lambda rank: None)
    for r in range(ranks):
        m.at(0.0, mem.release, r, [page], a.enter, r)
    m.run()
    return result(m, m.now, notices=mem.notices / ranks)


def lock(setting, ranks):
    """One entry of each rank into one lock."""
    m, mem = setting.memory(ranks)
    one = Lock(mem, 0)
    for r in range(ranks):
        m.at(0.0, one.take, r,
             lambda r=r: one.give(r, lambda: None))
    m.run()
    return result(m, m.now)


# ---- checkpoint -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Disk:
    bandwidth: float = 2000.0  # bytes/us that one rank writes
    shared: float = 500000.0  # of all ranks together
    sync: float = 2000.0  # us of an fsync
    opens: float = 50000.0  # files opened in a second, of all ranks
    page: float = 0.3  # us to write, sum, mark and collect a page, beside the disk


def checkpoint(setting, ranks, pages, written, full, disk=Disk()):
    """The commit of an epoch of `written` of `pages` pages of each rank. Collectives are
    run event by event, one of each kind, and counted as often as they are called."""
    job = Job(ranks=ranks, homed=pages)
    n = setting.network
    segments, objects = job.segments, job.objects
    private = objects - segments
    reduces = 26 + 5 * segments if full else 25 + 4 * segments
    row = 56 * (objects if full else 1)
    verdict, v = machine.allreduce_time(n, ranks, VERDICT)
    share, b = machine.bcast_time(n, ranks, 400 * objects)
    sizes, _ = machine.gather_time(n, ranks, 8)
    pieces, g = machine.gather_time(n, ranks, row)
    names, q = machine.pairs_time(n, ranks, 488 * private)
    parts = {
        "verdicts": reduces * verdict + (1 if full else 2) * verdict,
        "names to rank 0": names,
        "lists to all": 5 * share,
        "pieces to rank 0": sizes + pieces,
        "table of pieces on disk": row * ranks / disk.bandwidth,
        "manifest": 2 * (300 * objects * 17 / disk.bandwidth + 2 * disk.sync),
        "opening": ranks / disk.opens * 1e6,
        "pages": written * disk.page + written * 4096 * max(
            1 / disk.bandwidth, ranks / disk.shared) + 2 * disk.sync,
    }
    if full:
        parts["reading back"] = written * 4096 * max(1 / disk.bandwidth,
                                                     ranks / disk.shared)
        # blocks: sums go to the rank itself or its neighbours
        parts["exchange of sums"] = segments * (0.002 * ranks + 2 * n.latency)
    busiest = (reduces * max(v.bytes) + 5 * max(b.bytes) + max(g.bytes) + max(q.bytes))
    messages = (reduces * max(v.collective) + 5 * max(b.collective)
                + 2 * max(g.collective) + max(q.collective))
    root = 3 * row * ranks + 488 * private * ranks
    return Result(sum(parts.values()), messages, messages, busiest,
                  notes={"parts": parts, "rank 0, bytes of memory": root})
