#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A program of two domains runs right under valgrind, and with src/share/recto/recto.supp it
# reports the program's two mistakes and, but for faults on shared pages, nothing else.
set -euo pipefail
trap 'echo "line $LINENO: $BASH_COMMAND" >&2; cat "$TEST_WORK"/*.log >&2' ERR
if ! command -v valgrind >/dev/null; then
    echo "skip: no valgrind"
    exit 77
fi
rm -rf "$TEST_WORK"
mkdir -p "$TEST_WORK"
export RECTO_NODE=rank
"$TEST_MPIRUN" "$TEST_WORK/run" 2 valgrind -q --leak-check=full --log-file="$TEST_WORK/%p.log" \
    --suppressions="$TEST_SOURCE/src/share/recto/recto.supp" \
    --vex-iropt-register-updates=allregs-at-mem-access \
    "$TEST_BUILD/mpi-tests/cli_memory" >"$TEST_WORK/out"
grep -qxF 'last 99999' "$TEST_WORK/out"
# One line a report: its text and what is below it.
cat "$TEST_WORK"/*.log | sed -nE 's/^==[0-9]+== ?//p' |
    awk 'BEGIN { RS = "" } { gsub("\n", " "); print }' >"$TEST_WORK/reports"
[ "$(grep -c 'uninitialised value.* mistakes ' "$TEST_WORK/reports")" = 1 ]
[ "$(grep -c '16 bytes in 1 blocks are definitely lost.* mistakes ' "$TEST_WORK/reports")" = 1 ]
grep -qE '^Invalid read .* main .*memfd:recto:x' "$TEST_WORK/reports" # a page fault
grep -vE ' mistakes |^(Thread 1: )?Invalid (read|write) .*memfd:recto:' "$TEST_WORK/reports" \
    >"$TEST_WORK/others" || true
if [ -s "$TEST_WORK/others" ]; then
    cat "$TEST_WORK/others" >&2
    exit 1
fi
