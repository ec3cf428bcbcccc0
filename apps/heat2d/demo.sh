#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# demo.sh BUILD_DIR OUT_DIR: heat2d loses a rank half-way and recovers.
#
# Runs heat2d undisturbed, then again with checkpoints while one rank is killed
# from outside, restarts it by the same command, and compares the results bit
# for bit. Everything it writes lies in OUT_DIR. Exit code 0: all as expected.
#
# From the environment: RANKS (4), STEPS (10000), DT (0.0035), CHECKPOINT_EVERY
# (400), LIMIT (120: seconds that one run may take), MPIRUN (mpirun).
set -u
set -o pipefail
export LC_ALL=C

if [ $# -ne 2 ]; then
    echo "usage: $0 BUILD_DIR OUT_DIR" >&2
    exit 2
fi
build=$1
out=$2
ranks=${RANKS:-4}
# A tenth of the time step that would do: many steps, much to page, and the
# magma has not yet gone cold.
steps=${STEPS:-10000}
dt=${DT:-0.0035}
every=${CHECKPOINT_EVERY:-400}
limit=${LIMIT:-120}
mpirun=${MPIRUN:-mpirun}
half=$((steps / 2))

# More ranks than cores: waiting ranks yield, and none is bound to a core.
export OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# Every rank is a domain of its own, as if each had its own machine: data
# moves by page faults even though all of them run here.
export RECTO_NODE=rank

started=$EPOCHREALTIME
job= # process id of the run in the background

seconds() { # since $1
    awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'
}
step() {
    printf '\n[%s s] %s\n' "$(seconds "$started")" "$*"
}
fail() {
    printf '\nFAIL: %s (logs in %s)\n' "$*" "$out" >&2
    exit 1
}
show() { # a log, indented
    sed 's/^/    /' "$1"
}
cleanup() {
    if [ -n "$job" ]; then
        kill -TERM "$job" 2>/dev/null
        wait "$job" 2>/dev/null
    fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

find_program() {
    local path
    for path in "$build/bin/$1" "$build/$1"; do
        if [ -x "$path" ] && [ -f "$path" ]; then
            printf '%s\n' "$path"
            return
        fi
    done
    fail "$1 is not in $build/bin: build the project first"
}

heat2d=$(find_program heat2d) || exit 1
input_tool=$(find_program heat2d-input) || exit 1
recto=$(find_program recto) || exit 1

mkdir -p "$out" || exit 1
input=$out/input.h5
store=$out/checkpoints
picture=$out/heat.png
rm -rf "$store" "$out/undisturbed.store"
rm -f "$out"/{undisturbed,restarted}.h5 "$out"/*.log "$out/pids" "$picture"

# The folder of checkpoints, then options of heat2d. Takes the place of the
# subshell that calls it, so that a signal to the job reaches mpirun.
launch() {
    export RECTO_CKPT_DIR=$1
    exec timeout --foreground -k 10 "$limit" \
        "$mpirun" -n "$ranks" --oversubscribe "$heat2d" \
        --input "$input" --steps "$steps" --dt "$dt" "${@:2}" </dev/null
}

# ---- 1
step "1. An input: magma in layered rock, as two HDF5 datasets"
"$input_tool" "$input" >"$out/input.log" || fail "heat2d-input"
show "$out/input.log"
printf '    %s bytes\n' "$(stat -c %s "$input")"

# ---- 2
step "2. An undisturbed run: $ranks ranks, each a domain of its own, so that" \
    "page faults move the data"
run_started=$EPOCHREALTIME
(launch "$out/undisturbed.store" --output "$out/undisturbed.h5" --check --stats \
    >"$out/undisturbed.log") || {
    show "$out/undisturbed.log"
    fail "the undisturbed run"
}
took=$(seconds "$run_started")
show "$out/undisturbed.log"
awk -v took="$took" '$1 == "all" {
    printf "    %d page faults in %s s: %d reads of a page not here, %d writes " \
           "to one,\n    %d writes to a page that was here for reading only\n",
           $2 + $3 + $4, took, $2, $3, $4
}' "$out/undisturbed.log"
grep -q '^ *all ' "$out/undisturbed.log" || fail "no fault counts"

# ---- 3
# The kill must hit a run that is past half-way and not yet done. A run that is
# too fast is slowed down; should it be done before the kill nevertheless, it is
# repeated more slowly.
slow=$(awk -v took="$took" -v steps="$steps" \
    'BEGIN { print (took > 3 ? 0 : int(5e6 / steps)) }')

progress_of() { # the last step that the log of a run mentions
    sed -n 's/^heat2d: step \([0-9]*\) .*/\1/p' "$1" 2>/dev/null | tail -n 1
}
committed() { # is an epoch on disk?
    grep -q 'is on disk as epoch' "$1" 2>/dev/null
}

disturbed() { # the same command each time; $1: log
    launch "$store" --checkpoint-every "$every" --slow "$slow" \
        --output "$out/restarted.h5" --picture "$picture" --check \
        --pids "$out/pids" --progress log >"$1" 2>&1
}

kill_half_way() {
    local log=$out/killed.log victim pid host
    rm -rf "$store"
    rm -f "$out/pids" "$log"
    disturbed "$log" &
    job=$!
    while ! { committed "$log" && [ "$(progress_of "$log")" -ge "$half" ]; }; do
        if ! kill -0 "$job" 2>/dev/null; then
            break
        fi
        sleep 0.05
    done
    victim=$((RANDOM % ranks))
    read -r _ pid host < <(grep "^$victim " "$out/pids" 2>/dev/null)
    # Still this program, and not yet at its end?
    if [ "$(cat "/proc/${pid:-none}/comm" 2>/dev/null)" = heat2d ] &&
        ! [ -e "$out/restarted.h5" ] && kill -KILL "$pid"; then
        printf '    kill -KILL %s: rank %s on %s, at step %s\n' "$pid" \
            "$victim" "$host" "$(progress_of "$log")"
    fi
    wait "$job"
    status=$?
    job=
}

step "3. The same run with a checkpoint every $every steps, and a rank is" \
    "killed half-way"
for attempt in 1 2 3; do
    kill_half_way
    [ "$status" -eq 124 ] && fail "the run took longer than $limit s"
    if [ "$status" -ne 0 ] && grep -q 'is on disk' "$out/killed.log"; then
        break
    fi
    [ "$status" -ne 0 ] && {
        show "$out/killed.log"
        fail "the run ended by itself with code $status"
    }
    [ "$attempt" -eq 3 ] && fail "the run was always done before the kill"
    slow=$((slow * 2 + 1000))
    rm -f "$out/restarted.h5"
    printf '    done before the kill: once more, slower\n'
done
grep 'is on disk' "$out/killed.log" | tail -n 1 | sed 's/^/    last words: /'
printf '    mpirun ended with code %s\n' "$status"
[ -e "$out/restarted.h5" ] && fail "the killed run left an output"

# ---- 4
step "4. What is left: recto ls"
"$recto" ls "$store" >"$out/ls.log" 2>&1 || {
    show "$out/ls.log"
    fail "recto ls"
}
show "$out/ls.log"

# ---- 5
step "5. The same command again"
(disturbed "$out/restarted.log") || {
    show "$out/restarted.log"
    fail "the restarted run"
}
grep -v ' left$\|is on disk' "$out/restarted.log" | sed 's/^/    /'
grep -q 'restarted from epoch' "$out/restarted.log" ||
    fail "it began anew instead of restarting"

# ---- 6
step "6. Both results, bit for bit"
cksum "$out/undisturbed.h5" "$out/restarted.h5" | sed 's/^/    /'
cmp "$out/undisturbed.h5" "$out/restarted.h5" || fail "the results differ"
printf '    equal to each other and, by --check, to a serial solution\n'

printf '\nPASS in %s s. The picture: %s\n' "$(seconds "$started")" "$picture"
