# SPDX-License-Identifier: BSD-3-Clause
"""What the scripts that time whole programs share: how these are started."""
import os
import subprocess
import sys


def environment():
    # Waiting ranks leave their core to who works, and none is bound to a core.
    env = {**os.environ, "OMPI_MCA_mpi_yield_when_idle": "1",
           "OMPI_MCA_hwloc_base_binding_policy": "none"}
    if os.getuid() == 0:
        env["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
        env["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return env


def start(command, env):
    result = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
        timeout=float(os.environ.get("LIMIT", "900")))
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {result.returncode}\n"
                 f"{result.stdout}")
    return result.stdout


def words(template, file, quick):
    """The template's arguments, with the sizes chosen."""
    return [str(w[quick] if isinstance(w, tuple) else w).replace(
        "{file}", str(file)) for w in template]
