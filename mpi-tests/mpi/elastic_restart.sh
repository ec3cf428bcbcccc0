#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# elastic_restart.sh PROGRAM
#
# Shows that shared memory, the heap and blocks of distributed arrays go from job to job
# of 2, 4, 3, 1 and then random numbers of ranks, of any domains and transport, each
# with other blocks; and what is refused of blocks. TEST_SEED for the same again.
set -euo pipefail
program=$1
seed=${TEST_SEED:-$RANDOM}
echo "TEST_SEED=$seed"
RANDOM=$seed
export RECTO_CKPT_DIR RECTO_NODE RECTO_TRANSPORT RECTO_CKPT_FULL=5
run() { # ranks, arguments
    local ranks=$1
    shift
    "$TEST_MPIRUN" "$TEST_WORK/run" "$ranks" "$program" "$@"
}
nodes=(auto rank 2) transports=(auto mpi)
RECTO_CKPT_DIR=$TEST_WORK/ckpt
rm -rf "$RECTO_CKPT_DIR"
step=-1
for ranks in 2 4 3 1 $((RANDOM % 4 + 1)) $((RANDOM % 4 + 1)) $((RANDOM % 4 + 1)); do
    RECTO_NODE=${nodes[RANDOM % 3]} RECTO_TRANSPORT=${transports[RANDOM % 2]}
    echo "$ranks ranks, RECTO_NODE=$RECTO_NODE, RECTO_TRANSPORT=$RECTO_TRANSPORT"
    run "$ranks" job "$step" "$RANDOM"
    step=$((step + 2))
done
"$TEST_BUILD/bin/recto" verify "$RECTO_CKPT_DIR"
for ranks in 1 4; do
    RECTO_CKPT_DIR=$TEST_WORK/refused$ranks
    rm -rf "$RECTO_CKPT_DIR"
    run "$ranks" refused
done
RECTO_CKPT_DIR=$TEST_WORK/big
rm -rf "$RECTO_CKPT_DIR"
run 2 write
for ranks in 1 3; do
    run "$ranks" read
done
rm -rf "$RECTO_CKPT_DIR"
