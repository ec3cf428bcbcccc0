#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""seeds.py TARGET OUT FOLDER...: first inputs of a fuzz target from checkpoint
folders."""
import os
import struct
import sys


def described(lines):
    """The lines of epochs, with structs and attributes."""
    for line in lines:
        yield line
        if line.startswith(b"epoch "):
            yield (b"struct bytes=16 name=\"s\"\n"
                   b"member offset=0 type=float64 count=1 name=\"a\"\n"
                   b"member offset=8 type=int16 count=3 name=\"b\"\n")
        elif line.startswith(b"object "):
            yield (b"attribute name=\"long_name\" text=\"\\\"x\\\" \\\\\"\n"
                   b"attribute name=\"range\" type=int16 count=2 bytes=ffff0700\n"
                   b"attribute name=\"units\" text=\"K\"\n")


def folder_seeds(folder):
    with open(os.path.join(folder, "manifest"), "rb") as f:
        lines = f.read().splitlines(keepends=True)
    head, body = lines[:2], lines[2:-1]
    starts = [i for i, line in enumerate(body) if line.startswith(b"epoch ")]
    starts.append(len(body))
    content = b""  # of the chain so far
    for n in range(1, len(starts)):
        epochs = body[:starts[n]]
        words = dict(w.split(b"=", 1) for w in body[starts[n - 1]].split()[1:])
        start = head[1].replace(b"epochs=%d" % (len(starts) - 1),
                                b"epochs=%d" % n)
        if words[b"kind"] == b"full":
            content = b""
        if words[b"file"] != b"-":
            with open(os.path.join(folder, words[b"file"].decode()), "rb") as f:
                content += f.read()
        yield b"".join([head[0], start] + epochs) + b"\0" + content
        if head[0] != b"recto-manifest 1\n":
            yield b"".join([head[0], start, *described(epochs)]) + b"\0" + content


def pack_seeds(_folder):
    # a block of lz4: two literals, a long match, five literals
    lz4 = b"\x2f\x01\x02\x02\x00" + b"\xff" * 15 + b"\xd8\x50\x01\x02\x03\x04\x05"
    # a frame of zstd with one block that repeats a byte 4096 times
    zstd = b"\x28\xb5\x2f\xfd\x60\x00\x0f" + struct.pack("<I", 4096 << 3 | 3)[:3] + b"\x07"
    for codec, block in ((0, bytes(4096)), (1, lz4), (2, zstd)):
        for element in (1, 8):
            yield bytes([codec, element, 1]) + block


def main():
    target, out = sys.argv[1:3]
    # those of shares are in corpus/share: real pieces
    seeds = {"folder": folder_seeds, "pack": pack_seeds, "share": lambda _: ()}[target]
    for name in sys.argv[3:]:
        for i, seed in enumerate(seeds(name)):
            path = os.path.join(out, "seed-%s-%d" % (os.path.basename(name), i))
            with open(path, "wb") as f:
                f.write(seed)


if __name__ == "__main__":
    main()
