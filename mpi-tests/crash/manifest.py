# SPDX-License-Identifier: BSD-3-Clause
"""Reads a manifest well enough to know where things are in the epoch files."""
import os
import re
import struct


class Epoch:
    def __init__(self, fields):
        self.fields = fields
        self.number = int(fields["number"])
        self.full = fields["kind"] == "full"
        self.file = fields["file"]
        self.length = int(fields["length"])
        self.objects = []

    def is_chunked(self, o):
        return self.full and self.fields["blocks_at"] != "0" and int(o["bytes"]) >= 16384

    def chunks(self, folder):
        """[(offset, bytes)] of what is stored of arrays in chunks."""
        with open(os.path.join(folder, self.file), "rb") as file:
            file.seek(int(self.fields["blocks_at"]))
            table = file.read(16 * int(self.fields["entries"]))
        return [row[:2] for row in struct.iter_unpack("<QII", table) if row[1]]

    def places(self):
        """[(what, offset, bytes)] of everything in the file that has bytes, but chunks."""
        found = [("pieces", int(self.fields["pieces_at"]),
                  56 * int(self.fields["pieces"]))]
        for o in self.objects:
            if self.full:
                if not self.is_chunked(o):
                    found.append(("data of " + o["name"], int(o["data"]),
                                  int(o["bytes"])))
                found.append(("sums of " + o["name"], int(o["sums"]),
                              8 * int(o["pages"])))
        entries = int(self.fields["entries"])
        if self.full:
            found.append(("chunks", int(self.fields["blocks_at"]), 16 * entries))
            entries = 0
        found.append(("log pages", int(self.fields["log_at"]), 4096 * entries))
        found.append(("log index", int(self.fields["index_at"]), 32 * entries))
        return [p for p in found if p[2] > 0]


def fields_of(line):
    fields = dict(re.findall(r'(\w+)=([^" ]+)', line))
    name = re.search(r' name="(.*)"$', line)
    if name:
        fields["name"] = name.group(1)
    return fields


def read(folder):
    epochs = []
    with open(os.path.join(folder, "manifest"), encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("epoch "):
                epochs.append(Epoch(fields_of(line.rstrip("\n"))))
            elif line.startswith("object "):
                epochs[-1].objects.append(fields_of(line.rstrip("\n")))
    return epochs
