#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# midway.sh PROGRAM
#
# Runs of midway.c that die one after the other, each going on from the checkpoint
# of the one before, on other numbers of ranks, domains, transports and back ends.
# TEST_SEED repeats a series.
set -euo pipefail
program=$1
export TEST_SEED=${TEST_SEED:-$RANDOM$RANDOM} RECTO_HEAP=32M
export RECTO_CKPT_DIR=$TEST_WORK/ckpt
echo "TEST_SEED=$TEST_SEED"

run() { # ranks, last phase, phase to die in, settings
    env "${@:4}" "$TEST_MPIRUN" "$TEST_WORK/run" "$1" "$program" "$2" "$3"
}

dies() {
    local status=0
    run "$@" >"$TEST_WORK/log" 2>&1 || status=$?
    if [ "$status" -eq 77 ]; then # it cannot run here
        cat "$TEST_WORK/log"
        exit 77
    fi
    if [ "$status" -eq 0 ] || grep -qE '^rank .* failed:|RECTO_E' "$TEST_WORK/log" ||
        ! grep '^from phase' "$TEST_WORK/log"; then
        echo "it was to die in phase $3, and ended with $status:"
        cat "$TEST_WORK/log"
        exit 1
    fi
    if [ -e "$RECTO_CKPT_DIR/manifest" ]; then
        "$TEST_BUILD/bin/recto" verify "$RECTO_CKPT_DIR"
    fi
}

rm -rf "$TEST_WORK"
mkdir -p "$TEST_WORK"
dies 3 20 5 RECTO_NODE=rank RECTO_TRANSPORT=mpi
dies 2 20 9 RECTO_NODE=rank RECTO_VM=mprotect RECTO_DIRTY=fault
dies 4 20 13 RECTO_NODE=2 RECTO_TRANSPORT=auto RECTO_CACHE=256K RECTO_INBOX=4
run 1 15 0 RECTO_NODE=auto
run 3 20 0 RECTO_NODE=2 RECTO_TRANSPORT=mpi RECTO_VM=mprotect RECTO_DIRTY=fault
