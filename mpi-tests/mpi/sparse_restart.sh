#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# sparse_restart.sh PROGRAM
#
# Shows that a sparse array is restored without being filled, in a domain and between
# machines, on both back ends; and that its full epochs are sparse files.
set -euo pipefail
program=$1
for how in "auto auto auto" "auto rank mpi" "mprotect rank auto"; do
    read -r vm node transport <<<"$how"
    rm -rf "$TEST_WORK"
    mkdir -p "$TEST_WORK"
    for time in first second; do
        RECTO_CKPT_DIR=$TEST_WORK/ckpt RECTO_VM=$vm RECTO_NODE=$node \
            RECTO_TRANSPORT=$transport \
            "$TEST_MPIRUN" "$TEST_WORK/run" 2 "$program" 16 | tee "$TEST_WORK/$time"
    done
    grep -q restored "$TEST_WORK/second"
    full=$(find "$TEST_WORK/ckpt" -name 'e00000000-*')
    [ "$(stat -c %s "$full")" -gt $((16 << 30)) ]
    # checksums of 8 bytes a page are there
    [ "$(stat -c %b "$full")" -lt $((2 * 64 << 10)) ]
    rm -rf "$TEST_WORK/ckpt"
done
