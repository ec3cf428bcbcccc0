#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A job with a spare node: sbatch spare.sh ./program ARGUMENT...
# (Copy it and change the lines that begin with #SBATCH.)
#
# The program runs on all nodes but one. When a node fails the job keeps the others
# (--no-kill), and `recto run` starts the program again at once from its newest checkpoint
# on those that answer, the spare among them. When the first node fails, where this
# script runs, or when too few are left, Slurm queues the job again (--requeue).
#SBATCH --job-name=recto-spare
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=2
#SBATCH --exclusive
#SBATCH --time=01:00:00
#SBATCH --no-kill
#SBATCH --requeue
#SBATCH --open-mode=append

# With --no-kill Slurm goes on without a job's script when the node with the script
# fails, and the rest of the allocation would idle until the time limit. So the other nodes
# look whether Slurm still counts that node to the job.
# shellcheck disable=SC2016
watch='
while sleep 15; do
    read -r nodes first < <(squeue --noheader --jobs="$SLURM_JOB_ID" --format="%N %B")
    if [ -n "$first" ] && ! scontrol show hostnames "$nodes" | grep -qx "$first"; then
        scontrol requeue "$SLURM_JOB_ID"
    fi
done'
others=$((SLURM_JOB_NUM_NODES - 1))
srun --overlap --no-kill --nodes=$others --ntasks=$others --ntasks-per-node=1 --mem=0 \
    --exclude="$SLURMD_NODENAME" --output=none bash -c "$watch" 2>/dev/null &

ranks=$((others * SLURM_NTASKS_PER_NODE))
recto run -n $ranks --spare "$@"
status=$?
if [ $status -eq 3 ]; then # too few nodes answer
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
