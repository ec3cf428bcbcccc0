#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A job on several nodes: sbatch plain.sh ./program ARGUMENT...
# (Copy it and change the lines that begin with #SBATCH.)
#
# Slurm starts the ranks itself. When a node fails it ends the job and, when enough nodes
# are free, starts it anew (--requeue): the program goes on from its newest checkpoint.
#SBATCH --job-name=recto
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --exclusive
#SBATCH --time=01:00:00
#SBATCH --requeue
#SBATCH --open-mode=append

# Open MPI's one-sided operations between nodes; docs/clusters.md, "Networks".
export OMPI_MCA_pml=ucx OMPI_MCA_osc=ucx
# Without InfiniBand: UCX over TCP, which Open MPI does not take by itself.
export OMPI_MCA_pml_ucx_tls=any OMPI_MCA_pml_ucx_devices=any
export OMPI_MCA_opal_common_ucx_tls=any OMPI_MCA_opal_common_ucx_devices=any
export UCX_TLS=tcp,self

srun --mpi=pmix --kill-on-bad-exit=1 "$@"
status=$?

# Ranks that lose another one end, and with them this script, before Slurm has noticed
# that a node is dead; --requeue then does nothing. So, is it the node?
nodes=$SLURM_JOB_NUM_NODES
if [ $status -ne 0 ] && ! timeout -k 5 30 srun --overlap --nodes="$nodes" \
    --ntasks="$nodes" --ntasks-per-node=1 true; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
