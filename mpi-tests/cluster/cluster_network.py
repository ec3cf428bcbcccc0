#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""cluster_network.py PROGRAM: shows that a launch over a network, or with an MPI, in
which one-sided operations do not work ends at recto_init, on every rank, with the
settings to change; and that with these settings it works, on a slow network too.
PROGRAM is any test of several ranks."""
import os
import sys
import time

from nodes import AS_ROOT, Cluster

PROGRAM = sys.argv[1]
ROOT = {**AS_ROOT, "OMPI_MCA_rmaps_base_oversubscribe": "1"}
UCX = {"OMPI_MCA_pml": "ucx", "OMPI_MCA_osc": "ucx"}
ANY = {"OMPI_MCA_pml_ucx_tls": "any", "OMPI_MCA_pml_ucx_devices": "any",
       "OMPI_MCA_opal_common_ucx_tls": "any",
       "OMPI_MCA_opal_common_ucx_devices": "any"}


def check(condition, what, detail=""):
    print("ok  " if condition else "FAIL", what, flush=True)
    if not condition:
        sys.exit(detail)


def launch(cluster, hosts, settings):
    """Exit code, stderr and seconds of the program on 2 ranks."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("OMPI_", "UCX_", "RECTO_"))}
    env.update(ROOT, OMPI_MCA_plm_rsh_agent=str(cluster.root / "agent"))
    env.update(settings)
    start = time.time()
    done = cluster.run("n0", ["mpirun", "--host", hosts, "-n", "2", PROGRAM],
                       env=env)
    return done.returncode, done.stderr, time.time() - start


def refused(cluster, what, hosts, settings, words):
    code, err, seconds = launch(cluster, hosts, settings)
    told = [line for line in err.splitlines()
            if "RECTO_EMPI" in line and all(w in line for w in words)]
    check(code != 0 and told, "%s: refused in %.1f s" % (what, seconds), err)
    print("     " + told[0].strip())


def main():
    with Cluster(2) as cluster:
        between = ["one-sided", "OMPI_MCA_osc=ucx", "recto run",
                   "docs/clusters.md"]
        refused(cluster, "TCP as Debian sets it up", "n1,n2", {}, between)
        refused(cluster, "osc/pt2pt", "n1,n2", {"OMPI_MCA_osc": "pt2pt"},
                between)
        refused(cluster, "osc/rdma", "n1,n2", {"OMPI_MCA_osc": "rdma"},
                between)
        refused(cluster, "one machine whose processes may not copy", "n1:2",
                {"RECTO_NODE": "rank", "RECTO_TRANSPORT": "mpi",
                 "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
                 "OMPI_MCA_mca_base_env_list": "RECTO_NODE;RECTO_TRANSPORT"},
                ["one-sided", "btl_vader_single_copy_mechanism",
                 "RECTO_TRANSPORT"])
        works = {**UCX, **ANY}
        code, err, _ = launch(cluster, "n1,n2", works)
        check(code == 0, "the settings of the message work", err)
        cluster.script("slow", "n1", "10mbit")
        code, err, seconds = launch(cluster, "n1,n2", works)
        check(code == 0, "and at 10 Mbit/s, in %.1f s" % seconds, err)


main()
