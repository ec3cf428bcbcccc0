# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the manual that is built share: an empty folder, and faults, which are
told together at the end."""
import os
import pathlib
import shutil
import sys

SOURCE = pathlib.Path(os.environ["TEST_SOURCE"])
BUILD = pathlib.Path(os.environ["TEST_BUILD"])
WORK = pathlib.Path(os.environ["TEST_WORK"])
faults = []


def skip_unless(condition, reason):
    if not condition:
        print(f"skip: {reason}")
        sys.exit(77)


def fresh():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)


def expect(good, what):
    if not good:
        faults.append(what)


def finish(text):
    for fault in faults:
        print(fault)
    if faults:
        sys.exit(1)
    print(f"passed: {text}")
