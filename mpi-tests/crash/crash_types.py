#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that arrays of structs are compound datasets with their attributes, in full
epochs, in what export writes (plain and deflated) and after compact, as h5py and h5dump
read them; that they restart, on other numbers of ranks too, when size and members
are the same, and only then; that diff names the elements that differ, wherever pages
cut them; that epochs which came through nodes' own folders say the same; that arrays of many
chunks come back deflated, zeros and noise as they should, exported or in place; that
deflated epochs restart on other numbers of ranks; that a full disk leaves no
file; and what the calls refuse."""
import os
import resource
import shutil
import subprocess

from common import Driver
from model import h5py, numpy
import manifest

RANKS = 3
STEPS = 6
PARTICLE = numpy.dtype({"names": ["x", "kind", "charge \u00b5"],
                        "formats": [("<f8", 3), "<i4", "<f4"],
                        "offsets": [0, 24, 28], "itemsize": 32})
ODD = numpy.dtype({"names": ["a", "b", "c"], "formats": ["<i2", "<f8", ("u1", 3)],
                   "offsets": [0, 2, 10], "itemsize": 13})
# name: (number, type, dimensions)
ARRAYS = {"particles": (0, PARTICLE, (3000,)), "mesh/odd": (1, ODD, (300, 7)),
          "tiles": (3, ODD, (40, 31))}
ATTRIBUTES = {"particles": {"box": [-1.5, 0.1], "long_name": "\"where\" \\ \u00e4ther",
                            "units": "m"},
              "mesh/odd": {"count": (1 << 64) - 1},
              "tiles": {"units": ""}}


def value(number, count, step):
    """value() of types.c"""
    offset = numpy.arange(count, dtype=numpy.int64)
    changed = step - (step + offset // 4096) % 2 + 1
    return (offset * 131 + number * 17 + changed * 29 +
            (offset >> 8) * 3).astype(numpy.uint8)


def objects(step, ranks=RANKS):
    found = {name: value(number, int(numpy.prod(dims)) * kind.itemsize, step)
             for name, (number, kind, dims) in ARRAYS.items()}
    found["own"] = numpy.concatenate(
        [value(10 + rank, (500 + rank) * 13, step) for rank in range(ranks)])
    return found


def said(found):
    """An attribute as h5py has it."""
    if isinstance(found, (numpy.ndarray, numpy.number)):
        return found.tolist()
    return found.decode() if isinstance(found, bytes) else str(found)


def look(driver, path, step, what):
    """A file of an epoch against the model."""
    with h5py.File(path, "r") as file:
        for name, want in objects(step).items():
            kind = ARRAYS[name][1] if name in ARRAYS else ODD
            driver.check(file[name].dtype == kind, what + ": type of " + name,
                         str(file[name].dtype))
            driver.check(file[name][...].tobytes() == want.tobytes(),
                         what + ": " + name)
            told = {key: said(found) for key, found in file[name].attrs.items()}
            driver.check(told == ATTRIBUTES.get(name, {}),
                         what + ": attributes of " + name, told)
            if name in ARRAYS:
                driver.check(file[name].shape == ARRAYS[name][2],
                             what + ": dimensions of " + name)
        driver.check("nothing" not in file, "an attribute makes no array")


def filters(driver, path):
    with h5py.File(path, "r") as file:
        for name in ("particles", "mesh/odd"):
            driver.check(file[name].compression == "gzip" and file[name].shuffle,
                         "filters of " + name)
        driver.check(file["tiles"].chunks is None or
                     file["tiles"].compression == "gzip", "a small array")
    if shutil.which("h5dump"):
        done = subprocess.run(["h5dump", path], capture_output=True, check=False)
        driver.check(done.returncode == 0 and b"H5T_COMPOUND" in done.stdout,
                     "h5dump", done.stderr[-500:])


def exported(driver, folder, step):
    for options in ([], ["--deflate"], ["--deflate=1"]):
        path = driver.path("types.h5")
        code, out, err = driver.recto("export", folder, str(step), path, *options)
        driver.check(code == 0, "export " + " ".join(options), out + err)
        look(driver, path, step, "epoch %d %s" % (step, options))
        if options:
            filters(driver, path)
        os.unlink(path)


def told(driver, folder):
    """What info says."""
    _, found, _ = driver.recto_json("info", folder)
    listed = {o["name"]: o for o in found["objects"]}
    driver.check({k: listed[k]["attributes"] for k in ATTRIBUTES} == ATTRIBUTES,
                 "info: attributes", listed)
    driver.check(listed["mesh/odd"]["type"] == "odd" and
                 listed["mesh/odd"]["element_bytes"] == 13 and
                 [(m["name"], m["type"], m["offset"], m["count"])
                  for m in listed["particles"]["members"]] ==
                 [("x", "float64", 0, 3), ("kind", "int32", 24, 1),
                  ("charge \u00b5", "float32", 28, 1)], "info: members", listed)
    _, out, _ = driver.recto("info", folder)
    driver.check("300 x 7 odd" in out and ".x: float64[3] at 0" in out and
                 "units = \"m\"" in out and "box = [-1.5, 0.10000000000000001]" in out and
                 "count = 18446744073709551615" in out, "info as text", out)


def differs(driver, folder, a, b):
    _, found, err = driver.recto_json("diff", folder, str(a), str(b))
    ranges = {o["name"]: o["ranges"] for o in found["objects"]}
    one, other = objects(a), objects(b)
    for name, before in one.items():
        size = ARRAYS[name][1].itemsize if name in ARRAYS else 13
        want = (before.reshape(-1, size) != other[name].reshape(-1, size)).any(1)
        said = numpy.zeros(len(want), bool)
        for run in ranges.get(name, []):
            driver.check(not said[run["first"]:run["last"] + 1].any(),
                         "diff: an element twice")
            said[run["first"]:run["last"] + 1] = True
        driver.check((want == said).all(), "diff of " + name, err)


def restarts(driver, types, folder, env):
    code, out, err = driver.mpirun(RANKS, [types, "run", "0"], env)
    driver.check(code == 0 and out.split() == [str(STEPS - 1)], "restart", out + err)
    code, out, err = driver.mpirun(RANKS, [types, "renamed"], env)
    driver.check(code == 0 and out.split() == [str(STEPS - 1)],
                 "restart under another name of the struct", out + err)
    code, out, err = driver.mpirun(RANKS, [types, "changed"], env)
    driver.check(out.count("RECTO_ECHANGED") >= RANKS and "particles" in out and
                 "3000 particle" in out, "another struct", out + err)
    code, out, err = driver.recto("compact", folder)
    driver.check(code == 0, "compact", out + err)
    newest = manifest.read(folder)[-1]
    look(driver, os.path.join(folder, newest.file), STEPS - 1, "compacted")
    code, out, err = driver.mpirun(RANKS, [types, "run", "2"], env)
    driver.check(code == 0, "go on", out + err)
    exported(driver, folder, STEPS + 1)


def elastic(driver, types):
    folder = driver.path("ckpt-elastic")
    env = driver.environment(folder, TYPES_SHARED="1")
    at = -1
    for ranks in (2, 3, 1, 4):
        code, out, err = driver.mpirun(ranks, [types, "run", "2"], env)
        driver.check(code == 0 and out.split() == [str(at)],
                     "%d ranks" % ranks, out + err)
        at += 2
        code, out, err = driver.recto("compact", folder, "--deflate")
        driver.check(code == 0 and " of " in out, "deflate", out + err)


def nodes(driver, types):
    """Epochs of nodes' own folders that come to the shared one, after a crash too."""
    folder = driver.path("ckpt-nodes")
    env = driver.environment(
        folder, RECTO_NODE="rank", RECTO_CKPT_LOCAL=driver.path("local-%d"),
        RECTO_CKPT_LEVELS="partner:1,shared:100")
    code, out, err = driver.mpirun(RANKS, [types, "die", str(STEPS)], env)
    driver.check(code != 0 and "FAIL" not in err and
                 manifest.read(folder)[-1].number < STEPS - 1,
                 "epochs of nodes", out + err)
    env["RECTO_CKPT_LEVELS"] = "shared:1"
    code, out, err = driver.mpirun(RANKS, [types, "run", "1"], env)
    driver.check(code == 0 and out.split() == [str(STEPS - 1)],
                 "restart from nodes", out + err)
    told(driver, folder)
    exported(driver, folder, STEPS)
    exported(driver, folder, STEPS - 1)


def deflated(driver, folder, plain, names):
    """The newest epoch, whose file is `plain`, deflated in its place."""
    before = driver.path("before.h5")
    shutil.copy(plain, before)
    code, out, err = driver.recto("compact", folder, "--deflate")
    driver.check(code == 0, "compact --deflate", out + err)
    epoch = manifest.read(folder)[-1]
    with h5py.File(before, "r") as one, \
            h5py.File(os.path.join(folder, epoch.file), "r") as other:
        for name in names:
            driver.check(one[name][...].tobytes() == other[name][...].tobytes() and
                         one[name].dtype == other[name].dtype, "deflated epoch: " + name)
            driver.check(other[name].compression == "gzip" and
                         other[name].id.get_num_chunks() <= int(epoch.fields["entries"]),
                         "chunks of " + name)
        row = other["recto/chunks"].dtype
        driver.check(row.names == ("offset", "bytes", "raw") and row.itemsize == 16,
                     "rows of chunks", str(row))
    code, out, err = driver.recto("verify", folder)
    driver.check(code == 0, "verify", out + err)
    os.unlink(before)


def large(driver, types):
    folder = driver.path("ckpt-large")
    code, out, err = driver.mpirun(2, [types, "large"], driver.environment(folder))
    driver.check(code == 0, "epoch of large arrays", out + err)
    _, found, _ = driver.recto_json("diff", folder, "0", "1")
    driver.check([(o["name"], [(r["first"], r["last"]) for r in o["ranges"]])
                  for o in found["objects"]] ==
                 [("record", [(80659, 80659), (200002, 200002)])],
                 "diff across buffers", str(found))
    full = os.path.join(folder, manifest.read(folder)[0].file)
    path = driver.path("large.h5")
    code, out, err = driver.recto("export", folder, "0", path, "--deflate=9")
    driver.check(code == 0, "export of large arrays", out + err)
    names = ["tall", "deep", "wide", "sparse", "noise", "record"]
    with h5py.File(full, "r") as one, h5py.File(path, "r") as other:
        for name in names:
            driver.check(one[name][...].tobytes() == other[name][...].tobytes() and
                         one[name].dtype == other[name].dtype, "deflated " + name)
            chunk = int(numpy.prod(other[name].chunks)) * other[name].dtype.itemsize
            driver.check(chunk <= 1 << 20, "size of chunks of " + name,
                         str(other[name].chunks))
        stored = {name: other[name].id.get_storage_size() for name in names}
        driver.check(stored["sparse"] < 16384, "chunks of zeros", stored)
        driver.check(stored["noise"] == 3 * 800000, "chunks of noise", stored)
        driver.check(stored["tall"] < 1000 * 999 * 8 / 20, "a smooth array", stored)
        driver.check(other["wide"].chunks == (1, 150001) and
                     other["deep"].chunks == (1, 20, 131, 64) and
                     other["tall"].chunks[1] == 999, "shapes of chunks")
    os.unlink(path)
    deflated(driver, folder, os.path.join(folder, manifest.read(folder)[-1].file), names)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    for words in (["export", folder, "0", path, "--deflate"],
                  ["export", folder, "0", path], ["compact", folder, "0", "--deflate"]):
        done = subprocess.run([driver.recto_path, *words], text=True,
                              capture_output=True, check=False, preexec_fn=limit)
        driver.check(done.returncode == 1 and "too large" in done.stderr,
                     "past a limit: " + " ".join(words), done.stderr)
    driver.check(not driver.strays(folder), "strays", str(driver.strays(folder)))
    left = [n for n in os.listdir(driver.work) if "large.h5" in n]
    driver.check(not left, "nothing left behind", left)


def main():
    driver = Driver(__doc__)
    types = driver.program("types")
    code, out, err = driver.mpirun(2, [types, "calls"],
                                   driver.environment(driver.path("none")))
    driver.check(code == 0, "calls", out + err)
    for way in ("off", "zstd"):
        folder = driver.path("ckpt-" + way)
        env = driver.environment(folder, RECTO_CKPT_COMPRESS=way)
        code, out, err = driver.mpirun(RANKS, [types, "run", str(STEPS)], env)
        driver.check(code == 0 and out.split() == ["-1"], "epochs", out + err)
        epochs = manifest.read(folder)
        driver.check([e.full for e in epochs] == [True, True] + [False] * (STEPS - 2),
                     "full and differential epochs")
        for epoch in epochs[:2]:
            look(driver, os.path.join(folder, epoch.file), epoch.number, "file")
        for epoch in epochs:
            exported(driver, folder, epoch.number)
        told(driver, folder)
        differs(driver, folder, 1, STEPS - 1)
        differs(driver, folder, STEPS - 2, STEPS - 1)
        code, out, err = driver.recto("verify", folder)
        driver.check(code == 0, "verify", out + err)
        restarts(driver, types, folder, env)
    large(driver, types)
    elastic(driver, types)
    nodes(driver, types)
    driver.end()


main()
