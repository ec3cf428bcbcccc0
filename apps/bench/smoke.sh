#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# smoke.sh PROGRAM RANKS: a benchmark runs, checks its data, and its JSON file has
# a value of every figure in every round. Times decide nothing.
set -euo pipefail
program=$1
ranks=$2
json=$TEST_WORK/bench.json
mkdir -p "$TEST_WORK"
RECTO_NODE=rank "$TEST_MPIRUN" "$TEST_WORK/run" "$ranks" "$program" --quick --json "$json"
python3 - "$json" <<'END'
import json
import sys

report = json.load(open(sys.argv[1]))
measures = report["measures"]
assert measures and report["rows"], "no figures"
for m in measures:
    assert m["rounds"], f"{m['name']}: no rounds"
print(len(measures), "measures")
END
