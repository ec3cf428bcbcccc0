#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows what the `recto` command makes of epochs, for each way to compress them:
export gives the memory of the epoch's moment, as h5py reads it; diff names exactly
the elements that differ, both also where the export is deflated; a damaged block is found and never exported; what compact
made restarts, and a compact that is killed or fails at any of its steps leaves
a folder that restarts from the same epoch."""
import os
import pty
import shutil
import subprocess

from common import Driver
from model import ARRAYS, h5py, model, numpy, region
import manifest

RANKS = 2
STEPS = 6
REGIONS = 24
WAYS = ("off", "lz4", "zstd", "zstd:9")


def objects(step):
    """{name: its bytes after a step}"""
    found = {name: model(number, 0, int(numpy.prod(dims)) *
                         numpy.dtype(kind).itemsize, step)
             for name, number, kind, dims in ARRAYS}
    for index in range(REGIONS):
        found["private/r%02d" % index] = numpy.concatenate(
            [model(100 + rank, *region(index, rank), step)
             for rank in range(RANKS)])
    found["clock/step"] = numpy.array([step] * RANKS, "<i8").view("u1")
    return found


def exported(driver, folder, step):
    path = driver.path("epoch.h5")
    code, out, err = driver.recto("export", folder, str(step), path)
    driver.check(code == 0, "export of epoch %d" % step, out + err)
    packed = driver.path("deflated.h5")
    code, out, err = driver.recto("export", folder, str(step), packed, "--deflate")
    driver.check(code == 0, "deflated export of epoch %d" % step, out + err)
    for which in (path, packed):
        with h5py.File(which, "r") as file:
            for name, want in objects(step).items():
                driver.check(file[name][...].tobytes() == want.tobytes(),
                             "%s of epoch %d in %s" % (name, step, folder))
            for name, _, kind, dims in ARRAYS:
                driver.check(file[name].shape == dims and file[name].dtype == kind,
                             name + ": type and dimensions")
    os.unlink(packed)
    code, _, err = driver.recto("export", folder, str(step), path)
    driver.check(code == 2 and "there already" in err, "export over a file", err)
    os.unlink(path)


def differs(driver, folder, a, b):
    """diff against the model, by flattened indices."""
    _, told, err = driver.recto_json("diff", folder, str(a), str(b))
    found = {o["name"]: o for o in told["objects"]}
    one, other = objects(a), objects(b)
    sizes = {name: numpy.dtype(kind).itemsize for name, _, kind, _ in ARRAYS}
    sizes["clock/step"] = 8
    total = 0
    for name, before in one.items():
        size = sizes.get(name, 1)
        want = (before.reshape(-1, size) != other[name].reshape(-1, size)).any(1)
        told_of = numpy.zeros(len(want), bool)
        for run in found.get(name, {"ranges": []})["ranges"]:
            told_of[run["first"]:run["last"] + 1] = True
        total += int(want.sum()) * size
        driver.check((want == told_of).all(),
                     "diff %d %d of %s in %s" % (a, b, name, folder), err)
    driver.check(told["bytes"] == total and told["complete"], "diff: bytes")
    field = found.get("grid/field")
    if field:
        run = field["ranges"][0]
        driver.check(run["first_index"] == list(divmod(run["first"], 80)),
                     "diff: index of an element of two dimensions")


def damaged(driver, folder, epoch):
    """A byte of the log: verify names it, export refuses and leaves nothing."""
    copy = driver.path("damaged")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    with open(os.path.join(copy, epoch.file), "r+b") as file:
        file.seek(int(epoch.fields["log_at"]) + 100)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x10]))
    code, out, _ = driver.recto("verify", copy)
    driver.check(code == 1 and "page" in out, "verify of a damaged log", out)
    path = driver.path("damaged.h5")
    for option in ([], ["--deflate"]):
        code, _, err = driver.recto("export", copy, str(epoch.number), path, *option)
        driver.check(code == 1 and "damaged" in err, "export of a damaged log", err)
    code, _, err = driver.recto("compact", copy, str(epoch.number))
    driver.check(code == 1 and "damaged" in err, "compact of a damaged log", err)
    left = [n for n in os.listdir(driver.work) if "damaged.h5" in n]
    driver.check(not left and not driver.strays(copy), "nothing left behind", left)


def on_terminal(driver, *words):
    """What a command says to a stderr that is a terminal."""
    ours, its = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as reader:
        done = subprocess.run([driver.recto_path, *words], stderr=its, check=False,
                              stdout=subprocess.DEVNULL)
        os.close(its)
        said = b""
        try:
            while more := reader.read(4096):
                said += more
        except OSError:  # what the other end of a terminal closes with
            pass
    return done.returncode, said


def spoken(driver, folder):
    """Help of each command, words that are wrong, bars on terminals only."""
    for name in ("ls", "info", "verify", "diff", "export", "compact", "prune", "halt",
                 "run"):
        for word in ("--help", "-h"):
            code, out, err = driver.recto(name, word)
            driver.check(code == 0 and out.startswith("usage: recto " + name) and
                         "exit status" in out.lower() and not err, name + " " + word,
                         out + err)
        code, out, err = driver.recto(name, "--nonsense")
        driver.check(code == 2 and not out and "option" in err, name + " --nonsense", err)
    for words in (["export", folder, "1", "x", "--deflate=0"],
                  ["export", folder, "1", "x", "--deflate=10"],
                  ["export", folder, "1", "x", "--deflated"],
                  ["info", folder, "--deflate"], ["info", folder, "--local", "x"],
                  ["info"], ["diff", folder, "1"], ["diff", folder, "1", "x"],
                  ["ls", folder, "1"], ["export", folder, "1", "x", "y"], ["nothing"]):
        code, out, err = driver.recto(*words)
        driver.check(code == 2 and not out and "recto" in err, " ".join(words), err)
    copy = driver.path("bars")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    for words in (["verify", copy], ["diff", copy, "0", "1"], ["prune", copy]):
        code, said = on_terminal(driver, *words)
        driver.check(code == 0 and said.endswith(b"\r\033[K"), "a bar", str(said))
        code, _, err = driver.recto(*words)
        driver.check(code == 0 and not err, "no bar", err)


def compact_steps(driver, template):
    """[(number, label)] of a compact of the newest epoch, and how a rule says it."""
    folder, listing = driver.path("count"), driver.path("count.txt")
    shutil.copytree(template, folder)
    done = subprocess.run([driver.recto_path, "compact", folder], check=False,
                          env=driver.environment(RECTO_INJECT="count=" + listing))
    driver.check(done.returncode == 0, "compact without faults")
    with open(listing, encoding="utf-8") as lines:
        rows = sorted((int(n), label) for _, n, label in map(str.split, lines))
    written = max(n for n, label in rows if label == "copy-dir")
    return [(n, label) for n, label in rows
            if n <= written or label.startswith("unlink")]


def killed(driver, victim, template):
    rows = compact_steps(driver, template)
    labels = {}
    for number, label in rows:  # of steps alike the first and the last
        labels.setdefault(label, [number, number])[1] = number
    points = rows if driver.args.long else sorted(
        {(n, label) for label, ends in labels.items() for n in ends})
    folders = []
    for number, label in points:
        for when, what in (("before", "kill"), ("after", "kill"), ("before", "eio"),
                           ("before", "enospc"), ("before", "tear")):
            if what == "tear" and "write" not in label:
                continue
            folder = driver.path("at-%d-%s-%s" % (number, when, what))
            shutil.copytree(template, folder)
            rule = "point=%d,when=%s,do=%s" % (number, when, what)
            done = subprocess.run(
                [driver.recto_path, "compact", folder], check=False, text=True,
                capture_output=True, env=driver.environment(RECTO_INJECT=rule))
            driver.check(what in ("eio", "enospc") or done.returncode < 0,
                         "%s %s %s" % (what, when, label), done.stderr)
            code, out, err = driver.recto("verify", folder)
            driver.check(code == 0, "verify after %s %s %s" % (what, when, label),
                         out + err)
            folders.append(folder)
    answers, _ = driver.restart_all(
        RANKS, victim, folders, driver.environment(RECTO_CKPT_MODE="sync"))
    for folder in folders:
        want = "%d %d" % (STEPS - 1, STEPS - 1)
        driver.check(answers.get(folder) == want, folder, answers.get(folder))
        driver.check(not driver.strays(folder), "strays in " + folder,
                     str(driver.strays(folder)))


def compacted(driver, victim, folder, env):
    """An epoch in the middle, then the newest; each then reads as before."""
    for step in (STEPS - 2, STEPS - 1):
        code, out, err = driver.recto("compact", folder, str(step))
        driver.check(code == 0 and not driver.strays(folder),
                     "compact %d" % step, out + err)
        for epoch in range(STEPS - 2, STEPS):
            exported(driver, folder, epoch)
        code, out, err = driver.recto("verify", folder)
        driver.check(code == 0, "verify after compact", out + err)
    driver.check([e.full for e in manifest.read(folder)][-2:] == [True, True],
                 "compacted epochs are full")
    code, out, err = driver.mpirun(RANKS, [victim, "run", "2"], env)
    driver.check(code == 0 and "restored %d %d" % (STEPS - 1, STEPS - 1) in out,
                 "restart after compact", out + err)
    exported(driver, folder, STEPS + 1)


def main():
    driver = Driver(__doc__)
    victim = driver.program("victim")
    for way in WAYS:
        folder = driver.path("ckpt-" + way.replace(":", "-"))
        env = driver.environment(folder, RECTO_CKPT_MODE="sync",
                                 RECTO_CKPT_COMPRESS=way)
        code, out, err = driver.mpirun(RANKS, [victim, "run", str(STEPS)], env)
        driver.check(code == 0, "epochs to look at", out + err)
        epochs = manifest.read(folder)
        packed = [e.number for e in epochs if e.fields["blocks_at"] != "0"]
        driver.check(packed == ([] if way == "off" else list(range(2, STEPS))),
                     way + ": packed epochs", packed)
        for epoch in epochs:
            exported(driver, folder, epoch.number)
        differs(driver, folder, STEPS - 2, STEPS - 1)
        differs(driver, folder, 1, STEPS - 1)
        differs(driver, folder, 3, 3)
        damaged(driver, folder, epochs[-1])
        if way == "off":
            spoken(driver, folder)
        if way == "zstd":
            killed(driver, victim, folder)
        compacted(driver, victim, folder, env)
    driver.end()


main()
