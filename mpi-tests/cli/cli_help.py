# SPDX-License-Identifier: BSD-3-Clause
"""Every program and command prints its usage for --help and Recto's version for
--version, on stdout, and ends with 0; a wrong option ends with 2 and names --help."""
import os
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(os.environ["TEST_SOURCE"])
BIN = pathlib.Path(os.environ["TEST_BUILD"]) / "bin"
SCRIPTS = ["quickstart", "apps/bench/run", "apps/bench/programs",
           "apps/bench/overheads", "apps/sim/recto-sim"]
faults = []


def run(*words):
    return subprocess.run([str(w) for w in words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)


def expect(what, good, job):
    if not good:
        faults.append(f"{what}: exit {job.returncode}, stdout {job.stdout[:200]!r}, "
                      f"stderr {job.stderr[:200]!r}")


def check_help(words):
    job = run(*words, "--help")
    expect(f"{words} --help", job.returncode == 0 and not job.stderr and
           re.match("usage: ", job.stdout, re.I), job)
    return job.stdout


def check(words, version):
    check_help(words)
    job = run(*words, "--version")
    expect(f"{words} --version", job.returncode == 0 and not job.stderr and
           re.fullmatch(rf"recto.* {version}\n|.*\(Recto\) {version}\n", job.stdout),
           job)


def main():
    header = (SOURCE / "include/recto.h").read_text()
    version = re.escape(".".join(re.findall(r"^#define RECTO_VERSION_M\w+ (\d+)|"
                                            r"^#define RECTO_VERSION_PATCH (\d+)",
                                            header, re.M)[i][i // 2]
                                 for i in range(3)))
    programs = sorted(p for p in BIN.iterdir()
                      if p.is_file() and os.access(p, os.X_OK))
    for program in programs:
        check([program], version)
    recto = BIN / "recto"
    commands = sorted(set(re.findall(r"^(?:usage:|      ) recto ([a-z]+) ",
                                     run(recto, "--help").stdout, re.M)))
    assert {"ls", "run", "env", "doctor", "halt", "prune"} <= set(commands), commands
    for command in commands:
        check([recto, command], version)
        job = run(recto, command, "--no-such-option")
        expect(f"recto {command} --no-such-option", job.returncode == 2 and
               "--help" in job.stderr, job)
    for script in SCRIPTS:
        check_help([SOURCE / script])
    print("\n".join(faults))
    print(f"{len(programs)} programs, {len(commands)} commands, "
          f"{len(SCRIPTS)} scripts; {len(faults)} faults")
    return 1 if faults or len(programs) < 3 else 0


sys.exit(main())
