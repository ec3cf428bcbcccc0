#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows what the `recto` command makes of epochs, for each way to compress them:
export gives the memory of the epoch's moment, as h5py reads it; diff names exactly
the elements that differ, both also where the export is deflated; a damaged block is found and never exported; what compact
made restarts, deflated or not, eagerly or lazily, and reads alike for HDF5 and for whoever goes by
docs/format.md alone; and a compact that is killed or fails at any of its steps leaves
a folder that restarts from the same epoch."""
import math
import os
import pty
import shutil
import struct
import subprocess
import zlib

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


def chunks_of(element, dims):
    """docs/format.md: (bytes of a chunk, its bytes of the array) for each."""
    split, row = len(dims) - 1, element
    while split > 0 and row * dims[split] <= 1 << 20:
        row *= dims[split]
        split -= 1
    across = -(-dims[split] // ((1 << 20) // row))
    rows = -(-dims[split] // across)
    for _ in range(math.prod(dims[:split])):
        for first in range(0, dims[split], rows):
            yield rows * row, min(rows, dims[split] - first) * row


def by_the_book(driver, folder, epoch):
    """The arrays of a packed full epoch, without HDF5."""
    with open(os.path.join(folder, epoch.file), "rb") as file:
        content = file.read()
    at, chunked = int(epoch.fields["blocks_at"]), 0
    for o in epoch.objects:
        size, dims = int(o["bytes"]), [int(d) for d in o["dims"].split(",")]
        start = int(o["data"])
        data = content[start:start + size]
        if epoch.is_chunked(o):
            driver.check(start == at + 16 * chunked, "rows of " + o["name"])
            data, element = b"", size // math.prod(dims)
            for whole, used in chunks_of(element, dims):
                where, stored, raw = struct.unpack_from("<QII", content, at + 16 * chunked)
                chunked += 1
                chunk = content[where:where + stored] or bytes(whole)
                if stored and not raw:
                    plain = numpy.frombuffer(zlib.decompress(chunk), "u1")
                    chunk = plain.reshape(element, -1).T.tobytes()
                driver.check(len(chunk) == whole, "a chunk of " + o["name"])
                data += chunk[:used]
        want = objects(epoch.number).get(o["name"])
        driver.check(want is None or data == want.tobytes(), o["name"] + " by the book")
    driver.check(chunked == int(epoch.fields["entries"]) > 0, "rows of /recto/chunks")


def chunk_damaged(driver, victim, folder, env):
    """A byte of a chunk: it is named, and neither exported nor restored."""
    copy = driver.path("chunk-damaged")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    epoch = manifest.read(copy)[-1]
    where, stored = epoch.chunks(copy)[0]
    with open(os.path.join(copy, epoch.file), "r+b") as file:
        file.seek(where + stored // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x10]))
    _, found, _ = driver.recto_json("verify", copy)
    driver.check(not found["good"] and {d["epoch"] for d in found["damage"]} ==
                 {epoch.number} and all("pages" in d for d in found["damage"]),
                 "verify of a damaged chunk", str(found))
    out = driver.path("damaged.h5")
    code, _, err = driver.recto("export", copy, str(epoch.number), out)
    driver.check(code == 1 and "damaged" in err and not os.path.exists(out),
                 "export of a damaged chunk", err)
    code, said, err = driver.mpirun(
        RANKS, [victim, "run", "0"], dict(env, RECTO_CKPT_DIR=copy))
    driver.check(code == 0 and "restored %d" % (STEPS - 2) in said and "page" in err,
                 "restart past a damaged chunk", said + err)


def deflated(driver, victim, folder, env):
    """Epochs of a chain, and full ones, deflated: in no way different but in size."""
    copy = driver.path("deflated")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    env = dict(env, RECTO_CKPT_DIR=copy)
    code, out, err = driver.recto("compact", copy, str(STEPS - 2))
    driver.check(code == 0, "compact", out + err)
    before = os.path.getsize(os.path.join(copy, manifest.read(copy)[-2].file))
    code, out, err = driver.recto("compact", copy, str(STEPS - 2), "--deflate")
    driver.check(code == 0 and "compressed now" in out, "a full epoch", out + err)
    _, told, _ = driver.recto_json("compact", copy, "--deflate=9")
    driver.check(told["compressed"] and told["epochs_joined"] == 2, "a chain", str(told))
    epochs = manifest.read(copy)
    driver.check([(e.number, e.full) for e in epochs[-2:]] ==
                 [(STEPS - 2, True), (STEPS - 1, True)], "both are full")
    for epoch in epochs[-2:]:
        path = os.path.join(copy, epoch.file)
        by_the_book(driver, copy, epoch)
        exported(driver, copy, epoch.number)
        with h5py.File(path, "r") as file:
            for name, want in objects(epoch.number).items():
                driver.check(file[name][...].tobytes() == want.tobytes(), name + " in h5py")
            driver.check(file["grid/field"].compression == "gzip" and
                         len(file["recto/chunks"]) == int(epoch.fields["entries"]),
                         "filters, and the table")
    driver.check(os.path.getsize(os.path.join(copy, epochs[-2].file)) < before, "smaller")
    differs(driver, copy, STEPS - 2, STEPS - 1)
    code, out, err = driver.recto("compact", copy, "--deflate")
    driver.check(code == 0 and "already" in out and
                 [e.file for e in manifest.read(copy)] == [e.file for e in epochs],
                 "once is enough", out + err)
    code, out, err = driver.recto("verify", copy)
    driver.check(code == 0 and not driver.strays(copy), "verify", out + err)
    chunk_damaged(driver, victim, copy, env)
    at = STEPS - 1
    for mode in ("", "lazy", "lazy"):  # from it, then from logs over it
        code, out, err = driver.mpirun(RANKS, [victim, "run", "2"],
                                       dict(env, RECTO_RESTART=mode or "eager"))
        driver.check(code == 0 and "restored %d %d" % (at, at) in out,
                     "restart from a deflated epoch", out + err)
        at += 2
        exported(driver, copy, at)


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
                  ["compact", folder, "--deflate=x"], ["info", folder, "--deflate"], ["info", folder, "--local", "x"],
                  ["info"], ["diff", folder, "1"], ["diff", folder, "1", "x"],
                  ["ls", folder, "1"], ["export", folder, "1", "x", "y"], ["nothing"]):
        code, out, err = driver.recto(*words)
        driver.check(code == 2 and not out and "recto" in err, " ".join(words), err)
    for words in (["info", folder, "99"], ["verify", folder, "99"], ["compact", folder, "99"],
                  ["export", folder, "99", "x"], ["diff", folder, "1", "99"]):
        code, out, err = driver.recto(*words)
        driver.check(code == 3 and not out and "holds no epoch 99" in err and
                     "recto ls" in err, "an epoch that is not there", out + err)
    copy = driver.path("bars")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    for words in (["verify", copy], ["diff", copy, "0", "1"], ["prune", copy]):
        code, said = on_terminal(driver, *words)
        driver.check(code == 0 and said.endswith(b"\r\033[K"), "a bar", str(said))
        code, _, err = driver.recto(*words)
        driver.check(code == 0 and not err, "no bar", err)


def compact_steps(driver, template, options):
    """[(number, label)] of a compact of the newest epoch, and how a rule says it."""
    folder, listing = driver.path("count"), driver.path("count.txt")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    if os.path.exists(listing):
        os.unlink(listing)
    done = subprocess.run([driver.recto_path, "compact", folder, *options], check=False,
                          env=driver.environment(RECTO_INJECT="count=" + listing))
    driver.check(done.returncode == 0, "compact without faults")
    with open(listing, encoding="utf-8") as lines:
        rows = sorted((int(n), label) for _, n, label in map(str.split, lines))
    written = max(n for n, label in rows if label == "copy-dir")
    return [(n, label) for n, label in rows
            if n <= written or label.startswith("unlink")]


def killed(driver, victim, template, *options):
    rows = compact_steps(driver, template, options)
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
            folder = driver.path("at-%d-%s-%s%s" % (number, when, what, "".join(options)))
            shutil.copytree(template, folder)
            rule = "point=%d,when=%s,do=%s" % (number, when, what)
            done = subprocess.run(
                [driver.recto_path, "compact", folder, *options], check=False, text=True,
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
            killed(driver, victim, folder, "--deflate")
        deflated(driver, victim, folder, env)
        compacted(driver, victim, folder, env)
    driver.end()


main()
