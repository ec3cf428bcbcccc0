#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# restart.sh PROGRAM
#
# Runs of fortran_saved that are killed one after the other, each going on from the
# checkpoint of the one before on another number of ranks; what HDF5 users find in it;
# and that an error nobody asked for stops the program with Recto's message.
set -euo pipefail
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR
program=$1
export RECTO_CKPT_DIR=$TEST_WORK/ckpt

run() { # ranks, last step, step to die in, step to go on from, settings
    local status=0
    env "${@:5}" "$TEST_MPIRUN" "$TEST_WORK/run" "$1" "$program" "$2" "$3" \
        >"$TEST_WORK/log" 2>&1 || status=$?
    if ! grep -qx "from step $4" "$TEST_WORK/log" || grep -q ' failed: ' "$TEST_WORK/log" ||
        [ $((status != 0)) -ne $(($3 != 0)) ]; then
        echo "$*: it ended with $status"
        cat "$TEST_WORK/log"
        exit 1
    fi
}

rm -rf "$TEST_WORK"
mkdir -p "$TEST_WORK"
run 2 20 3 0
run 2 20 6 2 RECTO_NODE=rank
run 4 20 9 5 RECTO_NODE=2 RECTO_TRANSPORT=mpi
run 1 20 11 8
run 3 14 0 10 RECTO_RESTART=lazy
"$TEST_BUILD/bin/recto" verify "$RECTO_CKPT_DIR"
"$TEST_BUILD/bin/recto" info "$RECTO_CKPT_DIR" | tee "$TEST_WORK/info"
for object in '23 x 7 float64 +u$' '101 x 2 float64 +w$' '101 .*particle.* p$' \
    '23 x 7 float32 +block$' '23 x 7 x 2 float64 +half$' 'units.*K' \
    'scale = 0.5$' 'range = .-1, 40.$'; do
    grep -qE "$object" "$TEST_WORK/info"
done

status=0
"$TEST_MPIRUN" "$TEST_WORK/run" 1 "$program" stop >"$TEST_WORK/log" 2>&1 || status=$?
[ $status -ne 0 ]
grep -q '^recto: rank 0 on .*(RECTO_ENOENT)$' "$TEST_WORK/log"
! grep -q 'the program goes on' "$TEST_WORK/log"
