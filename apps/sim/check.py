# SPDX-License-Identifier: BSD-3-Clause
"""The simulation against the program: the cases of bench-costs (far transport), with the
same numbers of ranks. Counts must be equal; times are only shown."""
import json

import scenarios
from release import Page
from scenarios import Allreduce

PAGES = 16
ENTRIES = 10


def one_after_other(steps, done=lambda: None):
    """Runs steps, each of which calls its argument when it is over."""
    def go(i):
        if i == len(steps):
            done()
        else:
            steps[i](lambda: go(i + 1))
    go(0)


def reads(m, mem):
    last = m.ranks - 1
    one_after_other([lambda k: mem.fetch(last, Page(0, set()), k)] * PAGES)


def release_alone(m, mem):
    last = m.ranks - 1
    mem.release(last, [Page(0, {last}) for _ in range(PAGES)], lambda: None)


def release_home(sharers):
    def run(m, mem):
        mem.release(0, [Page(0, set(range(1, sharers + 1))) for _ in range(PAGES)],
                    lambda: None)
    return run


def release_other(sharers):
    def run(m, mem):
        last = m.ranks - 1
        mem.release(last, [Page(0, set(range(1, sharers + 1)) | {last})
                           for _ in range(PAGES)], lambda: None)
    return run


def all_write(m, mem):
    page = Page(0, set(range(1, m.ranks)))
    for r in range(1, m.ranks):
        mem.release(r, [page], lambda: None)


def barrier(written):
    def run(m, mem):
        a = Allreduce(m, scenarios.AGREEMENT, lambda rank: None)
        for r in range(m.ranks):
            pages = [Page(r, {(r - 1) % m.ranks})] if written else []
            mem.release(r, pages, a.enter, r)
    return run


def lock(m, mem):
    one = scenarios.Lock(mem, 0)
    for r in range(m.ranks):
        one_after_other([lambda k, r=r: one.take(r, k),
                         lambda k, r=r: one.give(r, k)] * ENTRIES)


def asks(m, mem):
    for r in range(m.ranks):
        one_after_other([lambda k, r=r: mem.ask(r, 0, k)] * ENTRIES)


def cases(ranks):
    yield "read miss of 16 pages", reads
    yield "release of 16 pages, nobody else holds them", release_alone
    yield "all but the home write one page, release", all_write
    for k in range(1, ranks):
        yield f"release of 16 pages by the home, sharers: {k}", release_home(k)
        yield f"release of 16 pages by another, sharers: {k}", release_other(k)
    yield "barrier, nothing written", barrier(False)
    yield "barrier, a page of each held by its neighbour", barrier(True)
    yield "lock and unlock, 10 by each rank", lock
    yield "fetch_add, 10 by each rank", asks


def simulated(m, mem):
    return {"messages": (sum(m.sent), max(m.sent)),
            "notices": (mem.notices, None),
            "one-sided reads": (sum(m.gets), max(m.gets))}


def compare(files, setting):
    """1 when a count differs."""
    wrong = compared = 0
    print(f"{'ranks':>5} {'case':<46} {'count':<15} {'program':>8} {'simulated':>9} "
          f"{'us':>9} {'simulated':>9} {'factor':>7}")
    for name in files:
        with open(name, encoding="utf-8") as f:
            report = json.load(f)
        if report["transport"] != "mpi":
            continue
        ranks = report["ranks"]
        counts = {(c["case"], c["count"]): c for c in report["counts"]}
        for case, run in cases(ranks):
            m, mem = setting.memory(ranks)
            run(m, mem)
            time = m.run()
            for what, (total, most) in simulated(m, mem).items():
                c = counts.get((case, what))
                if c is None:
                    continue
                compared += 1
                differs = c["measured"] != total or (
                    most is not None and c["busiest_predicted"] >= 0
                    and c["busiest"] != most)
                wrong += differs
                first = what == "messages"
                factor = f"{c['us'] / time:7.1f}" if first and time else ""
                print(f"{ranks:>5} {case if first else '':<46} {what:<15} "
                      f"{c['measured']:>8} {total:>9} "
                      + (f"{c['us']:>9.0f} {time:>9.0f} {factor}" if first else "")
                      + ("  DIFFERS" if differs else ""))
    print(f"{compared} counts compared, {wrong} differ")
    return 1 if wrong or compared == 0 else 0
