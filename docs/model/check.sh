#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# check.sh [msi|release]: checks docs/model/msi.pml (the default) or release.pml
# exhaustively: every configuration must pass, every mutant must fail in the way
# stated. Prints states, depth and time of each run, two of which go on at a time.
# Needs spin and a C compiler (CC, else cc or gcc). Exit: 0 all as it should
# be, 1 not, 77 cannot run here.

set -u
export LC_ALL=C

skip() { echo "skip: $1"; exit 77; }

name=${1:-msi}
model=$(cd "$(dirname "$0")" && pwd)/$name.pml || exit 1
case $name in msi | release) ;; *) echo "usage: $0 [msi|release]"; exit 1 ;; esac
command -v spin >/dev/null || skip "spin is not installed"
for cc in "${CC:-}" cc gcc; do
    [ -n "$cc" ] && command -v "${cc%% *}" >/dev/null && break
    cc=
done
[ -n "$cc" ] || skip "no C compiler"

dir=$(mktemp -d) || exit 1
# shellcheck disable=SC2046
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir" || exit 1
number=0      # of the run that was started last
most=2        # at a time

# verify KIND DEFINES: KIND is safety or progress. Leaves pan's report in out and
# sets verdict to pass, to the kind of error found, or to what went wrong. A
# search that was cut short (memory, depth) is not a pass.
verify() {
    local compile search word defines=()
    case $1 in
    safety)   compile="-DSAFETY"; search="" ;;
    progress) compile="-DNP -DNFAIR=4"; search="-l -f" ;;
    esac
    # Optimising costs more than it gives where an error is soon found.
    case $2 in
    *MUTANT*) compile="$compile -O0" ;;
    *)        compile="$compile -O1" ;;
    esac
    for word in $2; do defines+=("-D$word"); done
    verdict="no model"
    spin -a "${defines[@]}" "$model" >out 2>&1 || return
    [ -f pan.c ] || return
    verdict="no pan"
    # shellcheck disable=SC2086
    $cc -w $compile -DCOLLAPSE -DMEMLIM=3500 -o pan pan.c >out 2>&1 || return
    # shellcheck disable=SC2086
    ./pan -n -m4000000 $search >out 2>&1 &
    wait $!
    verdict="cut short"
    if grep -q 'error: max search depth too small' out; then return; fi
    case $(grep '^pan:1:' out) in
    *"assertion violated (current&"*)   verdict=value ;;     # stale or lost
    *"assertion violated (v==current"*) verdict=value ;;
    *"assertion violated "*"holders"*)  verdict=book ;;
    *"assertion violated "*">=2"*)      verdict=writers ;;   # two domains write
    *"assertion violated"*)             verdict=book ;;      # any other assert
    *"invalid end state"*)              verdict=deadlock ;;
    *"non-progress cycle"*)             verdict=livelock ;;
    "") if ! grep -q 'Search not completed' out && grep -q 'errors: 0$' out; then
            verdict=pass
        fi ;;
    esac
}

# report EXPECTED KIND DEFINES: EXPECTED is a verdict of verify, or several, a|b.
report() {
    local mark=ok states depth seconds start=${EPOCHREALTIME:-$SECONDS}
    verify "$2" "$3"
    seconds=$(awk -v a="$start" -v b="${EPOCHREALTIME:-$SECONDS}" 'BEGIN { printf "%.1f", b - a }')
    states=$(awk '/states, stored/ { print $1; exit }' out)
    depth=$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' out | head -n 1)
    case "|$1|" in *"|$verdict|"*) touch "$dir/good.$number" ;; *) mark=WRONG ;; esac
    # shellcheck disable=SC2059
    printf "$line" "$mark" "$2" "$3" "$verdict" "${states:--}" "${depth:--}" "$seconds"
    if [ $mark = WRONG ]; then
        echo "      expected: $1"
        sed 's/^/      /' out | head -n 20
    fi
}

# run EXPECTED KIND DEFINES: a report, in the background, in a folder of its own.
run() {
    while [ "$(jobs -pr | wc -l)" -ge $most ]; do wait -n; done
    number=$((number + 1))
    mkdir "$number"
    (
        trap 'kill $(jobs -p) 2>/dev/null; exit 1' TERM
        cd "$number" && report "$@" >said && cat said
        cd "$dir" && rm -rf "$number"
    ) &
}

line='%-5s %-8s %-52s %-9s %8s %7s %5s\n'
# shellcheck disable=SC2059
printf "$line" "" run defines verdict states depth s

check_msi() {
    local c r m
    for c in THREE HOME_PAIR REMOTE_PAIR PAIRS HOME_THREADS REMOTE_THREADS \
             PAIR_THREADS IDLE_HOME "THREE UNORDERED" "REMOTE_PAIR UNORDERED" \
             "PAIRS UNORDERED" "THREE EVICT" "HOME_PAIR EVICT" \
             "REMOTE_PAIR EVICT" "REMOTE_PAIR EVICT UNORDERED" \
             "REMOTE_THREADS EVICT"; do
        run pass safety "$c"
    done

    # A cycle search does not see a deadlock, so each is preceded by a search for one.
    for c in THREE HOME_PAIR REMOTE_PAIR; do
        run pass safety "$c HOLD"
        for r in 0 1 2; do run pass progress "$c HOLD PROGRESS_OF=$r"; done
    done
    run pass safety "REMOTE_THREADS HOLD"
    run pass progress "REMOTE_THREADS HOLD"
    run pass safety "REMOTE_PAIR EVICT HOLD"
    run pass progress "REMOTE_PAIR EVICT HOLD PROGRESS_OF=1"

    # Each bites by what a program would notice ...
    run "value|writers" safety   "THREE BARE MUTANT_EARLY_GRANT"
    run "value|writers" safety   "THREE BARE MUTANT_RIGHT_FIRST"
    run "value|writers" safety   "THREE BARE MUTANT_ACK_FIRST"
    run "value|writers" safety   "THREE BARE MUTANT_SM_STAYS"
    run "value|writers" safety   "REMOTE_PAIR BARE MUTANT_NOT_BUSY"
    run "value|writers" safety   "THREE BARE MUTANT_NO_DATA"
    run "value|writers" safety   "REMOTE_PAIR BARE MUTANT_DATA_FIRST"
    run "value|writers" safety   "REMOTE_PAIR BARE MUTANT_ALWAYS_DATA"
    run "value|writers" safety   "THREE BARE MUTANT_OWNER_KEPT"
    run "value|writers" safety   "THREE EVICT BARE MUTANT_EVICT_NO_DATA"
    run "value|writers" safety   "THREE EVICT BARE MUTANT_LOWER_LATE"
    run "value|writers" safety   "THREE EVICT BARE MUTANT_OWNER_FORGOTTEN"
    run "value|writers" safety   "THREE EVICT BARE MUTANT_EVICT_AT_ONCE"
    run "value|writers" safety   "REMOTE_PAIR EVICT BARE MUTANT_DISCARD_SHARED"
    run "value|writers" safety   "THREE EVICT BARE MUTANT_REVIVE_WRITE"
    run deadlock safety   "THREE EVICT MUTANT_SILENT_MI"
    run deadlock safety   "THREE MUTANT_SILENT_SM"
    run livelock progress "REMOTE_PAIR HOLD PROGRESS_OF=0 MUTANT_SILENT_SHARED"
    run livelock progress "THREE HOLD PROGRESS_OF=2 MUTANT_UNFAIR"
    run livelock progress "THREE MUTANT_NO_HOLD"
    # ... and some by the bookkeeping too.
    for m in EARLY_GRANT SM_STAYS NOT_BUSY ALWAYS_DATA OWNER_KEPT; do
        run book safety   "REMOTE_PAIR MUTANT_$m"
    done
}

check_release() {
    local c m
    for c in HOMES SHARED PAIR; do
        run pass safety "$c OPS=2"
        run pass safety "$c LAST=2 FAR"
    done
    for c in "TRIO LAST=2" "DUO OPS=4"; do
        run pass safety "$c"
        run pass safety "$c FAR"
    done
    # readers that there may not be
    for c in "TRIO FAR COARSE" "PAIR LAST=2 FAR COARSE" "HOMES FAR COARSE"; do
        run pass safety "$c"
    done
    # boards that overflow (or not: LOSSY is every run without it, too), caches that
    # make room, atomic operations
    for c in "HOMES LAST=2 LOSSY" "SHARED LAST=2 LOSSY" "PAIR LAST=2 LOSSY" \
             "TRIO LOSSY FAR" "CROWD LOSSY" "CROWD FAR" \
             "PAIR EVICT=2 LOSSY" "DUO OPS=2 EVICT=2" \
             "HOMES LAST=2 ATOMICS" "SHARED ATOMICS" "PAIR ATOMICS" \
             "DUO OPS=2 EVICT=1 ATOMICS"; do
        run pass safety "$c"
    done
    for m in "HOMES LAST=2 MUTANT_REGISTER_LATE" "HOMES LAST=2 MUTANT_LOG_LATE" \
             "TRIO LAST=2 MUTANT_LOGGED_FIRST" "SHARED LAST=2 MUTANT_OVERWRITE" \
             "HOMES LAST=2 MUTANT_WHOLE_PAGE" "SHARED LAST=2 MUTANT_TWIN_STALE" \
             "PAIR LAST=2 MUTANT_NO_PAGE_LOCK" "TRIO LAST=2 MUTANT_NOT_BUSY" \
             "TRIO LAST=2 FAR MUTANT_NO_JOIN" \
             "TRIO LAST=3 FAR MUTANT_JOIN_READERS" \
             "TRIO LAST=2 FAR MUTANT_FIRST_ANSWERS" \
             "TRIO LAST=2 FAR MUTANT_QUIET_BLIND" "DUO OPS=4 MUTANT_FREE_BLIND" \
             "DUO OPS=4 MUTANT_WRITE_STAYS" "PAIR LAST=2 MUTANT_DROP_UNSENT" \
             "TRIO LAST=2 MUTANT_NOTICE_FIRST" \
             "PAIR LAST=2 MUTANT_APPLIED_EARLY" \
             "PAIR OPS=2 ATOMICS MUTANT_TAIL_LATE" \
             "PAIR LOSSY MUTANT_FETCHING_UNSEEN" \
             "HOMES LAST=2 LOSSY MUTANT_WATCH_READERS" \
             "PAIR EVICT=2 LOSSY MUTANT_AGED_LAST" \
             "DUO OPS=2 EVICT=2 LOSSY MUTANT_AGED_UNSEEN" \
             "DUO OPS=2 EVICT=2 MUTANT_AGED_KEPT" \
             "PAIR EVICT=2 MUTANT_EVICT_UNSENT" \
             "DUO OPS=2 EVICT=2 MUTANT_EVICT_UNREGISTERS" \
             "PAIR EVICT=2 MUTANT_EVICT_MAPPED" \
             "SHARED EVICT=2 MUTANT_EVICT_SHARED" \
             "SHARED ATOMICS MUTANT_ATOMIC_RIGHT" \
             "SHARED LAST=2 ATOMICS MUTANT_ATOMIC_TWIN" \
             "SHARED LAST=2 ATOMICS MUTANT_ATOMIC_OWN_DOMAIN" \
             "DUO OPS=2 EVICT=2 ATOMICS MUTANT_ATOMIC_AGED"; do
        run value safety "$m"
    done
    run deadlock safety "TRIO LAST=2 FAR MUTANT_JOIN_ONE"
}

"check_$name"
wait
good=$(find . -name 'good.*' | wc -l)
[ "$good" -eq "$number" ] || { echo "$((number - good)) of $number runs not as expected"; exit 1; }
