#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# redistribute_restart.sh PROGRAM
#
# Shows that private memory goes from job to job of 2, 4, 3, 1 and then random numbers of
# ranks by the program's function; and what is refused. TEST_SEED for the same again.
set -euo pipefail
program=$1
seed=${TEST_SEED:-$RANDOM}
echo "TEST_SEED=$seed"
RANDOM=$seed
export RECTO_CKPT_DIR=$TEST_WORK/ckpt RECTO_CKPT_FULL=4 RECTO_NODE RECTO_TRANSPORT
run() { # ranks, arguments
    local ranks=$1
    shift
    "$TEST_MPIRUN" "$TEST_WORK/run" "$ranks" "$program" "$@"
}
nodes=(auto rank 2) transports=(auto mpi)
rm -rf "$RECTO_CKPT_DIR"
step=-1 last=0
for ranks in 2 4 3 1 $((RANDOM % 4 + 1)) $((RANDOM % 4 + 1)) $((RANDOM % 4 + 1)); do
    RECTO_NODE=${nodes[RANDOM % 3]} RECTO_TRANSPORT=${transports[RANDOM % 2]}
    echo "$ranks ranks, RECTO_NODE=$RECTO_NODE, RECTO_TRANSPORT=$RECTO_TRANSPORT"
    run "$ranks" job "$step"
    step=$((step + 3)) last=$ranks
done
run $((last % 4 + 1)) refused
