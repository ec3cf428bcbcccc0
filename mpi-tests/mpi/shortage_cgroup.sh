#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# shortage_cgroup.sh PROGRAM
#
# Shows, in a memory cgroup of 256 MiB, that an array that does not fit is refused by
# the cgroup's name; and that a sparse one that outgrows it is warned of on stderr
# before the kernel kills the rank by SIGKILL. Needs to be root, and a memory
# controller that is free to use.
set -euo pipefail
program=$1
limit=$((256 << 20))
skip() {
    echo "skip: $1"
    exit 77
}
[ "$(id -u)" -eq 0 ] || skip "only root makes cgroups"
v1=$(awk '$0 ~ / - cgroup [^ ]+ .*memory/ { print $5; exit }' /proc/self/mountinfo)
v2=$(awk '$0 ~ / - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
if [ -n "$v2" ] && grep -qw memory "$v2/cgroup.subtree_control" 2>/dev/null; then
    group=$v2/recto-test-$$ file=memory.max swap=memory.swap.max
elif [ -n "$v1" ]; then
    group=$v1/recto-test-$$ file=memory.limit_in_bytes swap=memory.swappiness
else
    skip "no memory controller"
fi
mkdir "$group" 2>/dev/null || skip "cannot make $group"
trap 'rmdir "$group" 2>/dev/null || { sleep 1; rmdir "$group"; }' EXIT
echo "$limit" >"$group/$file" || skip "cannot set $file"
echo 0 >"$group/$swap" 2>/dev/null || true
mkdir -p "$TEST_WORK"
ulimit -c 0
inside() { # CASE: its output in $TEST_WORK.log
    local code=0
    # shellcheck disable=SC2016
    RECTO_HEAP=0 "$TEST_MPIRUN" "$TEST_WORK/run" 1 --timeout 100 \
        sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' sh \
        "$group" "$program" "$1" >"$TEST_WORK.log" 2>&1 || code=$?
    cat "$TEST_WORK.log"
    return "$code"
}
inside refused
if inside grow; then
    echo "the kernel killed nobody"
    exit 1
fi
grep -q 'on signal 9' "$TEST_WORK.log"
warning='recto: rank 0 on [^ ]+: node 0: memory runs out: [0-9]+ bytes are left of '
warning+="$limit \\($group\\), and [0-9]+ .* of \"grid\""
[ "$(grep -cE "$warning" "$TEST_WORK.log")" -eq 1 ]
echo passed
