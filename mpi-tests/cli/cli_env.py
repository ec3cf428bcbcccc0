# SPDX-License-Identifier: BSD-3-Clause
"""`recto env` prints the table of base.h, says where each value is from, and finds wrong
exactly those values that recto_init refuses; unknown names bring the nearest known one,
there and, once for all ranks, in recto_init."""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(os.environ["TEST_SOURCE"])
BIN = pathlib.Path(os.environ["TEST_BUILD"]) / "bin"
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("RECTO_")}
VALUES = {  # variable: values, good and bad
    "RECTO_VM": ["mprotect", "magic"],
    "RECTO_DIRTY": ["hash", "guess"],
    "RECTO_NODE": ["rank", "2", "0", "node", "99999999999"],
    "RECTO_TRANSPORT": ["shm", "tcp"],
    "RECTO_PROGRESS": ["thread", "on"],
    "RECTO_HOLD": ["10", "9", "1000001"],
    "RECTO_CACHE": ["0", "64K", "65535"],
    "RECTO_COMMIT": ["sparse", "lots"],
    "RECTO_HEAP": ["0", "128K", "131071", "1g"],
    "RECTO_INBOX": ["5", "3"],
    "RECTO_INTERPOSE": ["off", "on"],
    "RECTO_MAX_MAPPINGS": ["100", "many"],
    "RECTO_TIMEOUT": ["1", "0"],
    "RECTO_CKPT_DIR": ["a folder"],
    "RECTO_CKPT_MODE": ["sync", "async"],
    "RECTO_CKPT_BUSY": ["refuse", "skip"],
    "RECTO_CKPT_BUFFER": ["1M", "1X"],
    "RECTO_CKPT_FULL": ["500", "501", "0"],
    "RECTO_CKPT_COMPACT": ["0", "110", "109"],
    "RECTO_CKPT_COMPRESS": ["zstd:3", "zstd:x", "gzip"],
    "RECTO_CKPT_KEEP": ["last=3,age=7d", "last=x"],
    "RECTO_CKPT_LEVELS": ["partner:2", "partner"],
    "RECTO_CKPT_SET": ["2+1", "2-1"],
    "RECTO_RESTART": ["lazy", "later"],
    "RECTO_RESTART_EPOCH": ["7", "oldest"],
    "RECTO_CKPT_INTERVAL": ["60", "1m"],
    "RECTO_MTBF": ["86400", "4294967296"],
    "RECTO_WALLTIME": ["3600", "-1"],
    "RECTO_STOP_SIGNAL": ["off", "usr2"],
    "RECTO_STATS": ["1", "2"],
    "RECTO_INJECT": ["point=1,do=kill", "boom"],
    "RECTO_TRACE_SIZE": ["1M", "some"],
    "RECTO_TOP": ["0", "2"],
}


def run(*words, **env):
    return subprocess.run([str(w) for w in words], env={**CLEAN, **env},
                          cwd=os.environ["TEST_WORK"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=False)


def table(**env):
    job = run(BIN / "recto", "env", "--json", **env)
    return job.returncode, json.loads(job.stdout)


def check_defaults():
    listed = re.findall(r'^\s*X\(\w+, "(RECTO_\w+)", "([^"]*)"',
                        (SOURCE / "src/base/base.h").read_text(), re.M)
    code, found = table()
    assert code == 0 and found["unknown"] == [], (code, found["unknown"])
    assert [(v["name"], v["default"]) for v in found["variables"]] == listed
    for v in found["variables"]:
        assert v["good"] and v["origin"] == "default" and v["value"] == v["default"], v
        assert v["text"] and v["allowed"], v
    text = run(BIN / "recto", "env").stdout
    for name, default in listed:
        assert f"{name}={default} " in text, name


def check_origin():
    code, found = table(RECTO_HOLD="50", RECTO_CKPT_FULL="")
    by_name = {v["name"]: v for v in found["variables"]}
    assert code == 0
    assert (by_name["RECTO_HOLD"]["origin"], by_name["RECTO_HOLD"]["value"],
            by_name["RECTO_HOLD"]["default"]) == ("environment", "50", "100")
    assert by_name["RECTO_CKPT_FULL"]["origin"] == "default"  # empty is unset
    text = run(BIN / "recto", "env", RECTO_HOLD="50").stdout
    assert re.search(r"^RECTO_HOLD=50 +environment \(default: 100\)$", text, re.M), text


def check_values():
    """What `recto env` takes a program takes, and the other way round."""
    names = {v["name"] for v in table()[1]["variables"]}
    unlisted = names - set(VALUES) - {"RECTO_CKPT_LOCAL", "RECTO_QUIET", "RECTO_TRACE"}
    assert not unlisted, f"give values of {unlisted}"
    taken, refused = {}, []  # good values, in lists; others with their names
    for name, values in VALUES.items():
        if name not in names:
            continue
        for value in values:
            code, found = table(**{name: value})
            good = next(v["good"] for v in found["variables"] if v["name"] == name)
            assert good == (code == 0), (name, value)
            if good:
                taken.setdefault(name, []).append(value)
                continue
            refused.append((name, value))
            text = run(BIN / "recto", "env", **{name: value}).stdout
            assert re.search(rf"^    WRONG: .*{re.escape(value)}", text, re.M), text
        assert taken[name] and (len(taken[name]) < len(values) or len(values) == 1), name
    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # they wait more than they work
        jobs = pool.map(lambda v: run(BIN / "recto-probe", **{v[0]: v[1]}), refused)
        for (name, value), job in zip(refused, jobs):
            assert job.returncode == 1, (name, value, job)
            assert value in job.stderr, job.stderr
    for turn in range(max(len(v) for v in taken.values())):
        env = {name: values[turn % len(values)] for name, values in taken.items()}
        job = run(BIN / "recto-probe", **env)
        assert job.returncode == 0, (env, job.stderr)


def check_unknown():
    names = {"RECTO_TRANPSORT": "1", "RECTO_XYZZY": "1", "RECTO_ROOT": "/opt"}
    code, found = table(**names)
    assert code == 1
    assert {(u["name"], u["nearest"]) for u in found["unknown"]} == {
        ("RECTO_TRANPSORT", "RECTO_TRANSPORT"), ("RECTO_XYZZY", "")}
    work = pathlib.Path(os.environ["TEST_WORK"])
    for ranks in "12":
        job = run(os.environ["TEST_MPIRUN"], work / ranks, ranks, BIN / "recto-probe",
                  **names)
        assert job.returncode == 0, job.stderr
        assert job.stderr.count("unknown environment variable RECTO_TRANPSORT: is it "
                                "RECTO_TRANSPORT?") == 1, job.stderr
        assert job.stderr.count("variable RECTO_XYZZY; recto env lists") == 1, job.stderr
        assert "RECTO_ROOT" not in job.stderr


def check_one_rank():
    """A value that one rank alone has, and that is refused: all end, none waits."""
    work = pathlib.Path(os.environ["TEST_WORK"])
    script = '[ "$OMPI_COMM_WORLD_RANK" != 0 ] || export RECTO_CACHE=bogus; exec "$0"'
    job = run(os.environ["TEST_MPIRUN"], work / "one", 2, "sh", "-c", script,
              BIN / "recto-probe")
    assert job.returncode == 1 and "rank 0" in job.stderr, job
    assert "RECTO_CACHE=bogus: give" in job.stderr, job.stderr


def main():
    pathlib.Path(os.environ["TEST_WORK"]).mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        CLEAN.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    for test in check_defaults, check_origin, check_values, check_unknown, check_one_rank:
        test()
        print(test.__name__)
    return 0


sys.exit(main())
