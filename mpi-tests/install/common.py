# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of what is installed share: an empty folder, commands that must succeed."""
import os
import pathlib
import shutil
import subprocess
import sys

SOURCE = pathlib.Path(os.environ["TEST_SOURCE"])
BUILD = pathlib.Path(os.environ["TEST_BUILD"])
WORK = pathlib.Path(os.environ["TEST_WORK"])
LIMIT = 200  # seconds for one command: none hangs


def need(condition, what):
    if not condition:
        sys.exit(what)


def say(*command, env=None):
    """Runs a command; what it printed."""
    words = [str(word) for word in command]
    result = subprocess.run(
        words, env={**os.environ, **(env or {})}, timeout=LIMIT, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    need(result.returncode == 0,
         f"{' '.join(words)}: exit code {result.returncode}\n{result.stdout}")
    return result.stdout


def fresh():
    """Goes to an empty folder. Without librecto.so there is nothing to be shown."""
    if not (BUILD / "lib" / "librecto.so").exists():
        print("skip: librecto is built as a static library")
        sys.exit(77)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    os.chdir(WORK)
