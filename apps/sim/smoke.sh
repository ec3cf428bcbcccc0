#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# smoke.sh BENCH_COSTS: the simulation sends what the program sends, count by count, and
# says so when it doesn't; gives the same numbers each time; and finds the growth
# that docs/scaling.md states.
set -euo pipefail
costs=$1
sim=$(dirname "$0")/recto-sim
export PYTHONDONTWRITEBYTECODE=1
rm -rf "$TEST_WORK"
mkdir -p "$TEST_WORK"
folder=$(mktemp -d /dev/shm/recto-sim.XXXXXX)
trap 'rm -rf "$folder"' EXIT
for ranks in 2 5; do
    RECTO_NODE=rank RECTO_TRANSPORT=mpi \
        "$TEST_MPIRUN" "$TEST_WORK/run" "$ranks" "$costs" --dir "$folder" \
        --json "$TEST_WORK/costs.$ranks.json" >"$TEST_WORK/costs.txt"
done
python3 -B "$sim" --network local --check "$TEST_WORK"/costs.*.json | tail -n 1

# one message more in the program
python3 - "$TEST_WORK/costs.5.json" "$TEST_WORK/wrong.json" <<'END'
import json
import sys

report = json.load(open(sys.argv[1]))
for c in report["counts"]:
    if c["case"].startswith("lock") and c["count"] == "messages":
        c["measured"] += 1
json.dump(report, open(sys.argv[2], "w"))
END
if python3 -B "$sim" --check "$TEST_WORK/wrong.json" >"$TEST_WORK/wrong.txt"; then
    echo "a wrong count was not found"
    exit 1
fi
grep -q DIFFERS "$TEST_WORK/wrong.txt"

python3 -B "$sim" --nodes 16,62,124,248 --json "$TEST_WORK/growth.json" >/dev/null
for time in first second; do
    python3 -B "$sim" --nodes 16,62 >"$TEST_WORK/$time.txt"
done
cmp "$TEST_WORK/first.txt" "$TEST_WORK/second.txt"
python3 - "$TEST_WORK/growth.json" <<'END'
import json
import sys

report = json.load(open(sys.argv[1]))
growth = {(g["case"], g["what"]): g["terms"] for g in report["growth"]}


def terms(part, what):
    found = [t for (case, w), t in growth.items() if part in case and w == what]
    assert len(found) == 1, (part, what, found)
    return found[0]


# What stays in a rank's memory does not grow with all pages of the job.
assert "ranks x pages" not in terms("memory of a rank", "all that stays")
# Exact directories tell holders only, whatever the number of ranks.
assert terms("(today, directory: exact)", "busiest") == ["1"]
assert terms("(today, directory: pointers)", "busiest") == ["1"]
assert set(terms("(today, directory: groups)", "busiest")) & {"ranks", "ranks^2"}
assert terms("barrier, nothing written", "bytes") == ["log ranks"]
print(len(growth), "costs and what they grow by")
END
