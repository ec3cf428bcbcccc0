#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# migrate_restart.sh PROGRAM
#
# Shows that checkpoints of memory whose pages changed homes, between epochs and since
# the last one, are restored on as many ranks, on more and on fewer.
set -euo pipefail
program=$1
TEST_SEED=${TEST_SEED:-$(date +%s%N)}
export TEST_SEED
run() { # ranks, node, transport, what
    RECTO_CKPT_DIR=$TEST_WORK/ckpt RECTO_NODE=$2 RECTO_TRANSPORT=$3 \
        "$TEST_MPIRUN" "$TEST_WORK/run" "$1" "$program" "$4"
}
for how in "3 rank mpi" "4 2 auto" "2 auto auto"; do
    read -r ranks node transport <<<"$how"
    rm -rf "$TEST_WORK/ckpt"
    RECTO_CKPT_FULL=16 run "$ranks" "$node" "$transport" small
    rm -rf "$TEST_WORK/ckpt"
    RECTO_CKPT_FULL=6 run "$ranks" "$node" "$transport" write
    for others in "$ranks" 4 1; do
        run "$others" "$node" "$transport" read
    done
done
