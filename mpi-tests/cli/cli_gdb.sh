#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# gdb with src/share/recto/gdb/recto.py: page faults do not stop a program; `recto segments` and
# `recto pages` tell homes, rights and states; a fault that is the program's own mistake stops
# at the access.
set -euo pipefail
trap 'echo "line $LINENO: $BASH_COMMAND" >&2; cat "$TEST_WORK"/out.* >&2' ERR
if ! command -v gdb >/dev/null; then
    echo "skip: no gdb"
    exit 77
fi
rm -rf "$TEST_WORK"
mkdir -p "$TEST_WORK"
export RECTO_NODE=rank RECTO_HOLD=10 RECTO_CKPT_DIR=$TEST_WORK/ckpt DEBUGINFOD_URLS=
cat >"$TEST_WORK/gdb" <<'END'
#!/usr/bin/env bash
# rank 0 in gdb, the others as they are
out=$1 commands=$2 program=$3
shift 3
if [ "${OMPI_COMM_WORLD_RANK:-0}" = 0 ]; then
    exec gdb -nx -batch -x "$TEST_SOURCE/src/share/recto/gdb/recto.py" -x "$commands" \
        --args "$program" "$@" >"$out" 2>&1 </dev/null
fi
exec "$program" "$@"
END
chmod +x "$TEST_WORK/gdb"
run() { # NAME RANKS COMMANDS [ARGUMENT...]
    local name=$1 ranks=$2
    printf '%s\n' "$3" >"$TEST_WORK/commands.$name"
    "$TEST_MPIRUN" "$TEST_WORK/run" "$ranks" "$TEST_WORK/gdb" "$TEST_WORK/out.$name" \
        "$TEST_WORK/commands.$name" "$TEST_BUILD/mpi-tests/cli_gdb_program" "${@:4}"
}
has() { # NAME REGEX
    grep -qE "$2" "$TEST_WORK/out.$1" || { echo "no \"$2\" in out.$1" >&2; return 1; }
}

look='break halt_here
run
up
recto segments
recto pages grid
recto pages board 0 3
recto pages grid 6 1
recto pages &grid[512*7]
python exec("try: gdb.execute(\"recto pages nothing\")\nexcept gdb.error as e: print(e)")
print *space_segment_find("grid")
continue'

run two 2 "$look"
has two '^rank 0 of 2, domain 0 of 2$'
has two '^grid +0x[0-9a-f]+ +8  block +release$'
has two '^board +0x[0-9a-f]+ +8  at 1 +sequential$'
has two '^ +2-2 +0  rw +rw +dirty'     # mine, written
has two '^ +3-3 +0  rw +r$'            # mine, not since the checkpoint
has two '^ +4-6 +1  - +-$'             # the other's, never touched
has two '^ +7-7 +1  rw +rw +.*twin.*1 writing written copy$'
has two '^ +0-0 +1  r +r +Shared'
has two '^ +1-1 +1  rw +rw +.*Modified'
has two '^ +2-2 +1  - +- +Invalid'
has two '^ +6-6 +1  - +-'
has two 'nothing: no array of that name'
has two '^[$]1 = \{"grid", 8 pages at 0x[0-9a-f]+, block\}$'
has two 'exited normally'

run one 1 "$look"
has one '^rank 0 of 1, domain 0 of 1$'
has one '^ +0-(7|1) +0  rw'  # by scan, or by faults
has one 'exited normally'

run fault 1 'run
backtrace
frame function main
print nowhere' mistake || true
has fault '^Recto does not resolve this fault'
has fault '<signal handler called>'
has fault ' main .*gdb.c:'
has fault '^[$]1 = \(volatile int \*\) 0x8$'
echo "one rank, two ranks, a mistake"
