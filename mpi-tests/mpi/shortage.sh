#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# shortage.sh PROGRAM
#
# Starts shortage.c in all ways: the rank that touches memory that the kernel refuses
# dies of SIGBUS and says why, in one line. A hang ends in mpirun's time limit.
set -euo pipefail
program=$1
ulimit -c 0
line='recto: rank 1 on [^ ]+: node [01]: the kernel has no memory for "grid", '
line+='(tables, )?page [0-9]+ \(0x[0-9a-f]+\): [0-9]+ bytes are left of [0-9]+ \(.+\)'
line+='.*RECTO_COMMIT=reserve.*\(SIGBUS\)$'
runs=0
run() { # VM NODE TRANSPORT CASE...
    local vm=$1 node=$2 transport=$3 code=0
    shift 3
    RECTO_VM=$vm RECTO_NODE=$node RECTO_TRANSPORT=$transport \
        "$TEST_MPIRUN" "$TEST_WORK/run" 2 --timeout 60 "$program" "$@" \
        >"$TEST_WORK.log" 2>&1 || code=$?
    runs=$((runs + 1))
    if [ "$code" -eq 0 ] || ! grep -q 'exited on signal 7' "$TEST_WORK.log" ||
        [ "$(grep -cE "$line" "$TEST_WORK.log")" -ne 1 ] ||
        [ "$(grep -c '^recto: ' "$TEST_WORK.log")" -ne 1 ]; then
        echo "RECTO_VM=$vm RECTO_NODE=$node RECTO_TRANSPORT=$transport $*: exit code $code"
        cat "$TEST_WORK.log"
        exit 1
    fi
}
mkdir -p "$TEST_WORK"
for vm in auto mprotect; do
    for how in "auto auto" "rank auto" "rank mpi"; do
        read -r node transport <<<"$how"
        for what in home copy; do
            run "$vm" "$node" "$transport" "$what"
            run "$vm" "$node" "$transport" "$what" sequential
        done
    done
    for transport in auto mpi; do # there is no memory for the twin
        run "$vm" rank "$transport" write
    done
done
echo "passed: $runs jobs"
