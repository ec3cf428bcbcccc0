# SPDX-License-Identifier: BSD-3-Clause
"""`recto doctor` finds nothing wrong where all is well; says what is, and what to do, when
mpirun is missing, fails, hangs or is another MPI's, when the checkpoint folder cannot be
one, a limit is too low, a setting wrong; and always comes to an end."""
import json
import os
import pathlib
import re
import stat
import subprocess
import sys
import time

WORK = pathlib.Path(os.environ["TEST_WORK"])
BIN = pathlib.Path(os.environ["TEST_BUILD"]) / "bin"
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("RECTO_", "OMPI_"))}


def doctor(*options, before="", **env):
    command = f'{before} exec "$0" doctor "$@"'
    return subprocess.run(["bash", "-c", command, BIN / "recto", *map(str, options)],
                          env={**CLEAN, **env}, cwd=WORK, capture_output=True,
                          text=True, timeout=120, check=False)


def findings(*options, **more):
    """Exit status, and the findings by name; more than one of a name: the worst."""
    job = doctor("--json", *options, **more)
    found = json.loads(job.stdout)
    order = ["good", "note", "problem"]
    worst = {}
    for f in found["findings"]:
        assert f["value"] and (f["grade"] == "good") == ("remedy" not in f), f
        if order.index(f["grade"]) >= order.index(worst.get(f["name"], f)["grade"]):
            worst[f["name"]] = f
    assert (job.returncode == 1) == (found["problems"] > 0), job
    assert found["problems"] == sum(f["grade"] == "problem" for f in found["findings"])
    return job.returncode, worst


def script(name, text):
    path = WORK / name
    path.write_text("#!/usr/bin/env bash\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def all_is_well():
    code, found = findings("--dir", WORK / "new" / "folder")
    assert code == 0, found
    for name in ("recto", "system", "memory", "map limit", "/dev/shm", "checkpoints",
                 "MPI library", "HDF5", "topology", "page protection", "one-sided"):
        assert found[name]["grade"] != "problem", found[name]
    assert "MPI_THREAD_MULTIPLE" in found["one-sided"]["value"]
    assert re.search(r"[1-9]\d* cores", found["topology"]["value"]), found["topology"]
    assert ("root" in found) == (os.geteuid() == 0)
    assert not (WORK / "new").exists()
    text = doctor().stdout
    assert re.search(r"^0 problems, \d+ notes$", text, re.M), text
    issue = doctor("--issue").stdout
    assert "### What happened" in issue and "ok       one-sided" in issue


def bad_mpirun():
    def of(name, *options):
        code, found = findings("--mpirun", name, *options)
        assert code == 1
        return found.get("mpirun") or found["one-sided"]

    assert "no program" in of(WORK / "nowhere")["value"]
    fails = of(script("fails", "echo 'recto: no slots' >&2; exit 7"))
    assert "ended with 7: recto: no slots" in fails["value"], fails
    other = of(script("other", 'shift 2; exec "$@"'))  # each rank is a job of its own
    assert "another MPI" in other["remedy"], other
    dies = of(script("dies", "echo step=recto_init; kill -SEGV $$"))
    assert "died of signal 11 in recto_init" in dies["value"], dies
    began = time.monotonic()
    mark = WORK / "pid"
    hangs = of(script("hangs", f"echo $$ >'{mark}'; sleep 1000 & sleep 1000"), "--time",
               "1")
    assert "hung" in hangs["value"] and time.monotonic() - began < 20, hangs
    time.sleep(0.2)
    assert not pathlib.Path(f"/proc/{mark.read_text().strip()}").exists()


def bad_folders():
    (WORK / "file").write_text("")
    code, found = findings("--dir", WORK / "file")
    assert code == 1 and "no folder" in found["checkpoints"]["value"]
    code, found = findings(RECTO_CKPT_DIR=str(WORK / "file" / "below"))
    assert code == 1 and "Not a directory" in found["checkpoints"]["value"]
    code, found = findings("--dir", "/dev/shm", RECTO_CKPT_LOCAL="/dev/shm/%d")
    assert "lost with the machine" in found["checkpoints"].get("remedy", ""), found
    assert found["local folder"]["grade"] == "good", found
    if os.geteuid() != 0:  # root may write anywhere
        (WORK / "closed").mkdir(mode=0o500)
        code, found = findings("--dir", WORK / "closed")
        assert code == 1 and "Permission denied" in found["checkpoints"]["value"]


def bad_settings():
    code, found = findings("--mpirun", "nowhere", RECTO_HOLD="7", RECTO_DIRT="1")
    assert code == 1 and "RECTO_HOLD=7: give " in found["environment"]["value"]
    code, found = findings(RECTO_DIRT="1")
    assert code == 0 and "is it RECTO_DIRTY?" in found["environment"]["value"], found
    code, found = findings(before="ulimit -f 100000;")
    assert code == 1 and "ulimit -f" in found["file size"]["remedy"], found
    for wrong in (["--dir"], ["--time", "0"], ["--time", "x"], ["folder"]):
        job = doctor(*wrong)
        assert job.returncode == 2 and "--help" in job.stderr, job


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    for test in all_is_well, bad_mpirun, bad_folders, bad_settings:
        test()
        print(test.__name__)
    return 0


sys.exit(main())
