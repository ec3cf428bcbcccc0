#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that HDF5's own tools read epochs: h5py and h5dump find a full epoch's
arrays under their names with types and dimensions and the right values, the
ranks' private pieces end to end, and a differential epoch's page log."""
import shutil
import subprocess

from common import Driver
from model import ARRAYS, h5py, model, region
import manifest

RANKS = 2


def full_epoch(driver, path, step):
    with h5py.File(path, "r") as file:
        for name, number, kind, dims in ARRAYS:
            data = file[name]
            driver.check(data.shape == dims and data.dtype == kind,
                         "%s: %s %s" % (name, data.dtype, data.shape))
            want = model(number, 0, data.size * data.dtype.itemsize, step)
            driver.check(data[...].tobytes() == want.tobytes(),
                         name + ": values")
            driver.check(data.id.get_offset() % 4096 == 0 or
                         want.size < 4096, name + ": page aligned")
        for index in range(24):
            want = b"".join(
                model(100 + rank, *region(index, rank), step).tobytes()
                for rank in range(RANKS))
            data = file["private/r%02d" % index]
            driver.check(data[...].tobytes() == want, data.name)
        driver.check(list(file["clock/step"][...]) == [step] * RANKS,
                     "clock/step")
        driver.check("scratch" not in file, "what is left out is left out")
        about = file["recto"].attrs
        driver.check(about["format_major"] == 3 and about["kind"] == b"full" and
                     about["epoch"] == step and about["page_size"] == 4096,
                     "attributes of /recto")
        driver.check(file["recto/sums/grid/field"].shape == (10,),
                     "/recto/sums")


def log_epoch(driver, path, epoch):
    with h5py.File(path, "r") as file:
        pages = file["recto/log/pages"]
        index = file["recto/log/index"]
        entries = int(epoch.fields["entries"])
        driver.check(pages.shape == (entries, 4096) and
                     index.shape == (entries,) and
                     index.dtype.names == ("uid", "rank", "page", "sum"),
                     "the page log")
        field = [int(o["uid"]) for o in epoch.objects
                 if o["name"] == "grid/field"][0]
        for slot in range(entries):
            if index[slot]["uid"] == field:
                want = model(0, int(index[slot]["page"]) * 4096, 4096,
                             epoch.number)
                driver.check(pages[slot].tobytes() == want.tobytes(),
                             "page %d of the log" % slot)


def dump(driver, path, step):
    h5dump = shutil.which("h5dump")
    if not h5dump:
        print("h5dump: left out, not installed")
        return
    for name, number, _, dims in ARRAYS:
        out = subprocess.run([h5dump, "-d", "/" + name, path], text=True,
                             capture_output=True, check=False).stdout
        want = "( %s )" % ", ".join(str(d) for d in dims)
        driver.check("DATASPACE  SIMPLE { %s" % want in out,
                     "h5dump: dimensions of " + name, out[:300])
        if number == 2:
            first = int(model(2, 0, 8, step).view("<u8")[0])
            driver.check("(0,0,0): %d," % first in out,
                         "h5dump: first value of " + name, out[:400])
    whole = subprocess.run([h5dump, path], capture_output=True, check=False)
    driver.check(whole.returncode == 0, "h5dump of the whole file")


def main():
    driver = Driver(__doc__)
    victim = driver.program("victim")
    folder = driver.path("ckpt")
    code, out, err = driver.mpirun(RANKS, [victim, "run", "3"],
                                   driver.environment(folder))
    driver.check(code == 0, "epochs to read", out + err)
    epochs = manifest.read(folder)
    for epoch in epochs:
        path = "%s/%s" % (folder, epoch.file)
        if epoch.full:
            full_epoch(driver, path, epoch.number)
            dump(driver, path, epoch.number)
        else:
            log_epoch(driver, path, epoch)
    driver.end()


main()
