#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# scattered_restart.sh PROGRAM
#
# Shows that a hundred thousand scattered pages of a segment of 5 GiB are restored, on as
# many ranks and on another number.
set -euo pipefail
program=$1
run() { # ranks, node, transport, arguments
    RECTO_CKPT_DIR=$TEST_WORK/ckpt RECTO_NODE=$2 RECTO_TRANSPORT=$3 \
        "$TEST_MPIRUN" "$TEST_WORK/run" "$1" "$program" "${@:4}"
}
rm -rf "$TEST_WORK/ckpt"
run 2 auto auto write
run 2 auto auto read
rm -rf "$TEST_WORK/ckpt"
run 2 rank mpi write 3000
run 3 rank mpi read 3000
rm -rf "$TEST_WORK/ckpt"
