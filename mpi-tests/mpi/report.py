# SPDX-License-Identifier: BSD-3-Clause
"""What ranks record (RECTO_TRACE) and what `recto report` and `recto top` make of it.

    report.py counts RANKS   records add up to the counters, in all forms of memory
    report.py planted        false sharing and a lock are named at their lines; the page
                             stands alone; dead ranks, cut and foreign files; bounds
    report.py waits          events, semaphores, conditions, failed tries, recoveries
    report.py top            a running job, live
"""
import html.parser
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

work = pathlib.Path(os.environ["TEST_WORK"])
build = pathlib.Path(os.environ["TEST_BUILD"])
source = pathlib.Path(os.environ["TEST_SOURCE"]) / "mpi-tests/mpi/false_sharing.c"
recto = build / "bin/recto"
waits_source = source.parent / "waits.c"
planted = build / "mpi-tests/mpi_false_sharing"
work.mkdir(parents=True, exist_ok=True)

# As recto_counters has them.
header = (pathlib.Path(os.environ["TEST_SOURCE"]) / "include/recto.h").read_text()
block = header[header.index("typedef struct recto_counters"):]
COUNTERS = re.findall(r"uint64_t (\w+);", block[:block.index("}")])


def start(ranks, program, *words, **env):
    command = [os.environ["TEST_MPIRUN"], str(work / "run"), str(ranks), str(program), *words]
    return subprocess.Popen(command, env={**os.environ, **env}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(ranks, program, *words, fails=False, **env):
    job = start(ranks, program, *words, **env)
    out = job.communicate()[0]
    assert (job.returncode != 0) == fails, f"{words} {env}: {job.returncode}\n{out}"
    return out


def report(*words, code=0):
    done = subprocess.run([recto, "report", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == code, f"report {words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout, done.stderr


def told(*words, code=0):
    return json.loads(report(*words, "--json", code=code)[0])


def fresh(name):
    for old in work.glob(name + ".*"):
        old.unlink()
    return work / name


# ---- counts -------------------------------------------------------------------------

def table(out):
    """Rows of RECTO_STATS=1: {rank: {title: number}}."""
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if "read-miss" in line)
    titles = lines[at].split()
    rows = [list(map(int, line.split())) for line in lines[at + 1:]
            if re.fullmatch(r"[\s\d]+", line)]
    return {row[0]: dict(zip(titles, row)) for row in rows}


def compare(trace, ranks, stats, what):
    r = told(trace)
    assert len(r["ranks"]) == ranks and not r["problems"], r["problems"]
    for row in r["ranks"]:
        counters = dict(zip(COUNTERS, row["counters"]))
        printed = stats[row["rank"]]
        for name, title in [("read_misses", "read-miss"), ("write_misses", "write-miss"),
                            ("upgrades", "upgrade"), ("tracked", "tracked")]:
            assert row[name] == counters[name] == printed[title], \
                (what, name, row[name], counters[name], printed[title])
        for name in ("bytes_fetched", "bytes_written", "checkpoints", "ckpt_bytes"):
            assert row[name] == counters[name], (what, name, row[name], counters[name])
        assert row["fault_ns"] <= counters["fault_ns"] + 50_000_000, what
        assert row["dropped"] == 0
    return r


def counts(ranks):
    seen = 0
    for node in ("auto", "rank", "2"):
        for transport in ("auto", "mpi"):
            for words in ([], ["checkpoint"], ["sequential", "checkpoint"]):
                if transport == "mpi" and node == "auto":
                    continue
                if ranks < 4 and node == "2" or ranks == 4 and words == []:
                    continue
                trace = fresh("counts")
                env = {"RECTO_NODE": node, "RECTO_TRANSPORT": transport,
                       "RECTO_STATS": "1", "RECTO_TRACE": str(trace),
                       "RECTO_CKPT_DIR": str(work / f"ckpt{seen}"),
                       "RECTO_DIRTY": "fault" if seen % 2 else "auto"}
                out = run(ranks, planted, *words, **env)
                r = compare(trace, ranks, table(out), (node, transport, words))
                barriers = {row["barriers"] for row in r["ranks"]}
                assert len(barriers) == 1 and barriers.pop() >= 100
                assert all(row["takes"] == 100 for row in r["ranks"])
                faults = sum(row["upgrades"] for row in r["ranks"])
                assert (faults > 0) == (ranks > 1 and node != "auto"), (node, ranks, faults)
                seen += 1
    print(f"{seen} runs on {ranks} ranks")


# ---- what is planted ------------------------------------------------------------------

def line_of(words, file=source):
    lines = file.read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if words in line)


class Page(html.parser.HTMLParser):
    """Tags that match, and nothing from elsewhere."""
    ALONE = {"meta", "br", "path", "rect"}

    def __init__(self):
        super().__init__()
        self.open, self.count = [], {}

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        assert tag not in ("script", "link", "img", "iframe", "object"), tag
        for name, value in attrs:
            assert name not in ("src", "xlink:href") and not name.startswith("on"), name
            assert name != "href" or value.startswith("#"), value
        if tag == "svg":
            assert dict(attrs).get("aria-label"), "a drawing without words"
        if tag not in self.ALONE or (tag in ("path", "rect") and self.get_starttag_text()[-2] != "/"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag


def page_check(file, most):
    text = file.read_text()
    page = Page()
    page.feed(text)
    assert not page.open, page.open
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert "prefers-color-scheme:dark" in text and "@media print" in text
    assert len(text) < most, len(text)
    return page


def false_sharing(trace):
    first = f"write_by_first (false_sharing.c:{line_of('planted: first')})"
    second = f"write_by_second (false_sharing.c:{line_of('planted: second')})"
    r = told(trace)
    pages = [p for p in r["pages"] if p["false_sharing"]]
    assert [(p["segment"], p["page"]) for p in pages] == [("grid", 0)], pages
    ranks = {q["rank"]: q for q in pages[0]["ranks"] if q["writes"] > 1}
    assert ranks[0]["where"] == first and ranks[1]["where"] == second, ranks
    assert ranks[0]["elements"] == "grid[0][10]" and ranks[1]["elements"] == "grid[0][11]"
    assert any(first in f or second in f for f in r["findings"]), r["findings"]
    text = report(trace)[0]
    assert first in text and second in text and "false sharing, candidates" in text
    lock = f"round_make (false_sharing.c:{line_of('CHECK_OK(recto_lock(lock))')})"
    assert [(x["takes"], x["where"]) for x in r["locks"]] == [(200, lock)], r["locks"]
    assert 0 < r["locks"][0]["hold_ns"] < r["time"] * 2
    return r


def outputs(trace, r):
    page, events = work / "page.html", work / "perfetto.json"
    report(trace, "--html", page, "--perfetto", events)
    counted = page_check(page, 400_000).count
    assert counted["svg"] >= 3 and counted["table"] >= 5, counted
    assert "write_by_first (false_sharing.c:" in page.read_text()
    list_ = json.loads(events.read_text())["traceEvents"]
    assert sum(e["ph"] == "X" for e in list_) == r["events"]
    assert {e["pid"] for e in list_} == {0, 1}
    assert all(0 <= e["ts"] <= r["time"] / 1000 for e in list_ if e["ph"] == "X")
    assert report(trace, "--html", "-")[0] == page.read_text()


def hurt_files(trace):
    parts = [pathlib.Path(f"{trace}.{rank}") for rank in (0, 1)]
    whole = parts[1].read_bytes()
    parts[1].write_bytes(whole[:len(whole) // 2 + 17])
    assert any("cut off" in p for p in told(trace, code=1)["problems"])
    parts[1].unlink()
    assert any("1 of 2 ranks" in p for p in told(trace, code=1)["problems"])
    parts[1].write_bytes(b"not a trace")
    assert "too short" in report(trace, code=1)[1]
    parts[1].write_bytes(whole.replace(b"false_sharing", b"<script>&amp;", 1))
    report(trace, "--html", work / "page.html")
    page_check(work / "page.html", 400_000)
    report(work / "no-such", code=3)
    report(code=2)
    report(trace, "--wrong", code=2)


def other_runs():
    """Bounds, a rank that dies, a place that cannot be written, other runs' files."""
    trace = fresh("bound")
    out = run(2, planted, RECTO_NODE="rank", RECTO_TRACE=str(trace), RECTO_TRACE_SIZE="64K")
    assert "is full" in out, out
    assert all(p.stat().st_size <= 65536 for p in work.glob("bound.*"))
    r = told(trace, code=1)
    assert all(k["dropped"] > 0 for k in r["ranks"]) and len(r["problems"]) == 2
    trace = fresh("dead")
    run(2, planted, "die", fails=True, RECTO_NODE="rank", RECTO_TRACE=str(trace))
    r = told(trace, code=1)
    assert any("Rank 1 did not end in order" in p for p in r["problems"]), r["problems"]
    assert r["ranks"][1]["upgrades"] > 10 and not r["ranks"][1]["ended"]
    both = told(work / "dead.0", work / "bound.1", code=1)
    assert len(both["ranks"]) == 1 and "another run" in both["problems"][0]
    out = run(2, planted, fails=True, RECTO_TRACE=str(work / "none/x"))
    assert "RECTO_EIO" in out and "give a folder" in out, out
    out = run(2, planted, fails=True, RECTO_TRACE=str(work / "x"), RECTO_TRACE_SIZE="1K")
    assert "RECTO_EINVAL" in out, out


def all_planted():
    trace = fresh("planted")
    run(2, planted, "checkpoint", RECTO_NODE="rank", RECTO_TRACE=str(trace),
        RECTO_CKPT_DIR=str(work / "ckpt"))
    outputs(trace, false_sharing(trace))
    hurt_files(trace)
    other_runs()
    print("planted: found")


# ---- waits -----------------------------------------------------------------------------

def waits():
    trace = fresh("waits")
    run(2, build / "mpi-tests/mpi_waits", RECTO_NODE="rank", RECTO_TRACE=str(trace),
        RECTO_CKPT_DIR=str(work / "ckpt"))
    r = told(trace)
    assert not r["problems"], r["problems"]
    first, second = r["ranks"]
    assert (first["waits"], first["failed_tries"]) == (0, 0), first
    # an event that was waited for and tested, a semaphore, a condition
    assert (second["waits"], second["failed_tries"]) == (4, 206), second
    assert 300_000_000 < second["told_ns"] < r["time"], second
    assert [row["recovers"] for row in r["ranks"]] == [2, 2]
    assert all(0 < row["recover_ns"] < r["time"] for row in r["ranks"])
    objects = {x["name"].split()[0]: x for x in r["locks"]}
    assert {n: x["failed_tries"] for n, x in objects.items()} == {
        "lock": 100, "rwlock": 100, "event": 3, "semaphore": 3}, objects
    assert [objects[n]["takes"] for n in ("rwlock", "event", "semaphore")] == [2, 2, 1], objects
    assert objects["lock"]["takes"] >= 5, objects
    for name, planted_at in (("event", "event"), ("semaphore", "sem")):
        line = line_of("planted: " + planted_at, waits_source)
        assert objects[name]["where"] == f"told (waits.c:{line})", objects[name]
        assert objects[name]["wait_most"] > 50_000_000 and objects[name]["ranks"] == 1
    assert any("event" in f and "(waits.c:" in f for f in r["findings"]), r["findings"]
    text, page = report(trace)[0], work / "waits.html"
    assert re.search(r"^  semaphore \w+: 1 waits by 1 ranks.*, 3 failed tries", text, re.M), text
    events = work / "waits.json"
    report(trace, "--html", page, "--perfetto", events)
    page_check(page, 400_000)
    assert page.read_text().count(">recover") >= 2
    list_ = json.loads(events.read_text())["traceEvents"]
    tried = [e for e in list_ if e["name"] == "failed try"]
    # of a hundred the 1st, 2nd, 4th, ... and the rest; of three the 1st, 2nd, the rest
    assert len(tried) == 2 * 8 + 2 * 3, len(tried)
    assert sum(e["args"]["tries"] for e in tried) == 206
    assert {e["args"]["where"] for e in tried} >= {
        f"tries_make (waits.c:{line_of('planted: try', waits_source)})"}
    assert {"wait for event", "wait for semaphore", "recover"} <= {e["name"] for e in list_}
    print("waits: found")


# ---- top ---------------------------------------------------------------------------------

def top(*words, code=0):
    done = subprocess.run([recto, "top", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == code, f"top {words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def mine(program):
    done = subprocess.run([recto, "top", "--once", "--json", "--interval", "0.3"],
                          capture_output=True, text=True)
    ranks = json.loads(done.stdout)["ranks"] if done.returncode == 0 and done.stdout else []
    return [r for r in ranks if r["program"] == str(program.resolve())]


def live():
    # By its path our job is known from those of other tests beside this one.
    program = pathlib.Path(shutil.copy2(planted, work / "watched"))
    over = fresh("over") / "now"
    over.parent.mkdir(exist_ok=True)
    over.unlink(missing_ok=True)
    job = start(2, program, "checkpoint", "slow", str(over), RECTO_NODE="rank",
                RECTO_CKPT_DIR=str(work / "ckpt"))
    until = time.monotonic() + 60
    ranks = []
    while time.monotonic() < until and not (
            len(ranks) == 2 and all(r["answered"] and r["faults_per_s"] > 0 for r in ranks)):
        assert job.poll() is None, job.communicate()[0]
        ranks = mine(program)
    assert len(ranks) == 2 and {r["rank"] for r in ranks} == {0, 1}, ranks
    assert len({r["run"] for r in ranks}) == 1 and ranks[1]["bytes_fetched"] > 0
    pid = ranks[0]["pid"]
    text = top("--once", "--interval", "0.1", pid)
    assert "2 of 2 ranks here" in text and len(text.splitlines()) == 4, text
    watching = subprocess.Popen([recto, "top", "--json", "--interval", "0.1", str(pid)],
                                stdout=subprocess.PIPE, text=True)
    lines = [watching.stdout.readline() for _ in range(3)]
    over.touch()
    out = job.communicate()[0]
    assert job.returncode == 0, out
    # Not communicate(): it would leave out what readline() has read ahead.
    lines += watching.stdout.readlines()
    assert watching.wait(timeout=60) == 0
    assert all(json.loads(line)["ranks"] for line in lines)
    top("--once", pid, code=3)
    top("--interval", "0", code=2)
    over.unlink()
    hidden = start(1, program, "slow", str(over), RECTO_TOP="0", RECTO_TRACE=str(work / "up"))
    while not (work / "up.0").exists():
        assert hidden.poll() is None, hidden.communicate()[0]
        time.sleep(0.1)
    assert not mine(program) and hidden.poll() is None
    over.touch()
    assert hidden.wait() == 0
    print(f"top: {len(lines)} looks")


if sys.argv[1] == "counts":
    counts(int(sys.argv[2]))
elif sys.argv[1] == "planted":
    all_planted()
elif sys.argv[1] == "waits":
    waits()
else:
    live()
