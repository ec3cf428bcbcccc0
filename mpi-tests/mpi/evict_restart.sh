#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# evict_restart.sh PROGRAM
#
# Shows that sequential memory, of which most was evicted, is restored as the checkpoint
# left it, on any number of ranks.
set -euo pipefail
program=$1
run() { # ranks, node, transport, what
    RECTO_CKPT_DIR=$TEST_WORK/ckpt RECTO_NODE=$2 RECTO_TRANSPORT=$3 \
        "$TEST_MPIRUN" "$TEST_WORK/run" "$1" "$program" "$4"
}
for how in "rank mpi" "2 auto"; do
    read -r node transport <<<"$how"
    rm -rf "$TEST_WORK/ckpt"
    run 3 "$node" "$transport" write
    for ranks in 3 4 1; do
        run "$ranks" "$node" "$transport" read
    done
done
