# SPDX-License-Identifier: BSD-3-Clause
"""Ranks, their service threads and a network, as discrete events.

Costs are those of LogGP (A. Alexandrov et al., SPAA'95): a message takes a service
thread `overhead` to send, its network card `gap` and its bytes by `bandwidth`, the
network `latency`, the receiving card its bytes again, and the receiver's service
thread `overhead` and `handling`. Threads and cards do one thing at a time, in order
of arrival; so a hot home shows as a queue. Times are microseconds.

The application thread of a rank runs beside its service thread. Everything is
deterministic: equal times are taken in the order in which they were made.
"""
import dataclasses
import heapq


@dataclasses.dataclass(frozen=True)
class Network:
    latency: float = 1.5
    overhead: float = 1.0
    handling: float = 0.5
    gap: float = 0.05
    bandwidth: float = 12000.0  # bytes per microsecond: 12 GB/s
    onesided: float = 0.0  # of the target's service thread, where gets need it


NETWORKS = {
    "rdma": Network(),
    "tcp": Network(latency=12.0, overhead=4.0, handling=0.5, gap=0.5,
                   bandwidth=1800.0, onesided=4.0),
    # processes of one machine that talk by MPI, a core each
    "local": Network(latency=1.0, overhead=2.0, handling=1.0, gap=0.0,
                     bandwidth=8000.0, onesided=0.0),
}


class Machine:
    def __init__(self, ranks, network):
        self.ranks = ranks
        self.network = network
        self.now = 0.0
        self.events = []
        self.made = 0
        self.service = [0.0] * ranks  # when each is free again
        self.program = [0.0] * ranks
        self.card_out = [0.0] * ranks
        self.card_in = [0.0] * ranks
        self.sent = [0] * ranks  # control messages
        self.collective = [0] * ranks  # messages inside MPI's collectives
        self.gets = [0] * ranks
        self.bytes = [0] * ranks  # in and out of the rank
        self.longest = 0.0  # wait for a service thread

    def at(self, time, call, *args):
        self.made += 1
        heapq.heappush(self.events, (time, self.made, call, args))

    def run(self):
        events = self.events
        while events:
            self.now, _, call, args = heapq.heappop(events)
            call(*args)
        return self.now

    def _out(self, source, ready, size):
        left = max(ready, self.card_out[source]) + max(
            self.network.gap, size / self.network.bandwidth)
        self.card_out[source] = left
        self.bytes[source] += size
        return left + self.network.latency

    def _in(self, target, size):
        done = max(self.now, self.card_in[target]) + size / self.network.bandwidth
        self.card_in[target] = done
        self.bytes[target] += size
        return done

    def post(self, source, target, size, call, *args):
        """A control message from service thread to service thread; then `call`."""
        self.sent[source] += 1
        ready = max(self.now, self.service[source])
        if source == target:  # through the own queue
            ready += self.network.handling
            self.service[source] = ready
            self.at(ready, call, *args)
            return
        ready += self.network.overhead
        self.service[source] = ready
        self.at(self._out(source, ready, size), self._arrive, target, size, call, args)

    def _arrive(self, target, size, call, args):
        here = self._in(target, size)
        start = max(here, self.service[target])
        self.longest = max(self.longest, start - here)
        done = start + self.network.overhead + self.network.handling
        self.service[target] = done
        self.at(done, call, *args)

    def get(self, source, target, size, call, *args):
        """A one-sided read by source's service thread, then `call`."""
        self.gets[source] += 1
        ready = max(self.now, self.service[source]) + self.network.overhead
        self.service[source] = ready
        self.at(ready + self.network.latency, self._got, source, target, size, call,
                args)

    def _got(self, source, target, size, call, args):
        ready = self.now
        if self.network.onesided:
            ready = max(ready, self.service[target]) + self.network.onesided
            self.service[target] = ready
        self.at(self._out(target, ready, size), self._data, source, size, call, args)

    def _data(self, source, size, call, args):
        done = self._in(source, size)
        self.service[source] = max(self.service[source], done)
        self.at(done, call, *args)

    def pass_on(self, source, target, size, call, *args):
        """A message inside a collective, from program to program."""
        self.collective[source] += 1
        ready = max(self.now, self.program[source]) + self.network.overhead
        self.program[source] = ready
        self.at(self._out(source, ready, size), self._passed, target, size, call, args)

    def _passed(self, target, size, call, args):
        done = max(self._in(target, size), self.program[target])
        done += self.network.overhead
        self.program[target] = done
        self.at(done, call, *args)


class Allreduce:
    """All ranks meet, by dissemination: ceil(log2 P) rounds, as many messages of each
    rank as the recursive doubling of MPI libraries. `done(rank)` as each goes on."""

    def __init__(self, machine, size, done):
        self.m = machine
        self.size = size
        self.done = done
        self.rounds = max(0, (machine.ranks - 1).bit_length())
        self.round = [-1] * machine.ranks  # not there yet
        self.arrived = [set() for _ in range(machine.ranks)]

    def enter(self, rank):
        self.round[rank] = 0
        self._go(rank)

    def _go(self, rank):
        k = self.round[rank]
        if k == self.rounds:
            self.done(rank)
            return
        self.m.pass_on(rank, (rank + (1 << k)) % self.m.ranks, self.size,
                       self._come, (rank + (1 << k)) % self.m.ranks, k)
        self._look(rank)

    def _come(self, rank, k):
        self.arrived[rank].add(k)
        self._look(rank)

    def _look(self, rank):
        k = self.round[rank]
        if 0 <= k < self.rounds and k in self.arrived[rank]:
            self.arrived[rank].discard(k)
            self.round[rank] = k + 1
            self._go(rank)


def tree_parent(rank):
    """Binomial tree with root 0: the parent clears the lowest bit."""
    return rank & (rank - 1)


def tree_children(rank, ranks):
    low = (rank & -rank) if rank else 1 << (ranks - 1).bit_length()
    bit = 1
    while bit < low:
        if rank + bit < ranks:
            yield rank + bit
        bit <<= 1


def tree_size(rank, ranks):
    low = (rank & -rank) if rank else ranks
    return min(low, ranks - rank)


def gather_time(network, ranks, size):
    """Event by event: every rank's `size` bytes to rank 0 up a binomial tree.
    Returns (time, machine)."""
    m = Machine(ranks, network)
    left = [sum(1 for _ in tree_children(r, ranks)) for r in range(ranks)]

    def up(rank):
        if rank:
            m.pass_on(rank, tree_parent(rank), size * tree_size(rank, ranks), come,
                      tree_parent(rank))

    def come(rank):
        left[rank] -= 1
        if left[rank] == 0:
            up(rank)

    for r in range(ranks):
        if left[r] == 0:
            m.at(0.0, up, r)
    return m.run(), m


def bcast_time(network, ranks, size):
    """`size` bytes from rank 0 down a binomial tree."""
    m = Machine(ranks, network)

    def down(rank):
        for child in sorted(tree_children(rank, ranks), reverse=True):
            m.pass_on(rank, child, size, down, child)

    m.at(0.0, down, 0)
    return m.run(), m


def allreduce_time(network, ranks, size):
    m = Machine(ranks, network)
    a = Allreduce(m, size, lambda rank: None)
    for r in range(ranks):
        m.at(0.0, a.enter, r)
    return m.run(), m


def pairs_time(network, ranks, size):
    """Every rank sends rank 0 a message of its own: net_gatherv, which receives
    one after the other."""
    m = Machine(ranks, network)
    for r in range(1, ranks):
        m.at(0.0, m.pass_on, r, 0, size, lambda: None)
    return m.run(), m
