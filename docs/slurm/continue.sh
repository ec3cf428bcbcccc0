#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A run longer than the time limit: sbatch continue.sh ./program ARGUMENT...
# (Copy it and change the lines that begin with #SBATCH. Options given to sbatch by hand
# hold for the first job only.)
#
# Slurm sends USR1 to this script (B:) so many seconds before the limit, 60 more or less: time
# for a step of the program and a checkpoint. `recto run` passes it on, the program's
# next recto_checkpoint_due() asks for the end, and exit code 75 says that there is
# more to do: the same script goes on in a second job, and so on.
#SBATCH --job-name=recto-continue
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
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
    # The other way, `scontrol requeue $SLURM_JOB_ID` instead of the next line, keeps the
    # job's number; Slurm then lets it wait two minutes at least.
    PART=$((part + 1)) exec sbatch --dependency="afterany:$SLURM_JOB_ID" "$0" "$@"
fi
exit "$status"
