#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A run longer than the time limit: sbatch continue.sh ./program ARGUMENT...
# (Copy it and change the lines that begin with #SBATCH. Of options given to sbatch by
# hand those that the last lines repeat hold for all jobs, others for the first only.)
#
# Slurm sends USR1 to this script (B:) so many seconds before the limit, 60 more or less: time
# for a step of the program and a checkpoint. `recto run` passes it on, the program's
# next recto_checkpoint_due() asks for the end, and exit code 75 says that there is
# more to do: the same script goes on in a second job, and so on.
#SBATCH --job-name=recto-continue
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --exclusive
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --output=%x.out
#SBATCH --open-mode=append

run=
trap 'signalled=1; kill -USR1 "$run"' USR1
recto run "$@" &
run=$!
signalled=1
while [ -n "$signalled" ]; do # a signal ends `wait` early
    signalled=
    wait "$run"
    status=$?
done

part=${PART:-1}
if [ "$status" -eq 75 ] && [ "$part" -lt 100 ]; then # an end, should it not get on
    # The other way, `scontrol requeue $SLURM_JOB_ID` instead, keeps the job's number;
    # Slurm then lets it wait for two minutes at least.
    export PART=$((part + 1))
    exec sbatch --dependency="afterany:$SLURM_JOB_ID" --job-name="$SLURM_JOB_NAME" \
        --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_NTASKS" \
        ${SLURM_NTASKS_PER_NODE:+--ntasks-per-node="$SLURM_NTASKS_PER_NODE"} "$0" "$@"
fi
exit "$status"
