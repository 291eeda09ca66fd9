#!/usr/bin/env bash
# Measures how fast factord is, each figure beside a ceiling or a peer of the same run, and prints a table.
# benchmarks/README.md has method and results.
#   tools/bench.sh [--smoke] [--json FILE] [ROW...]     without a row: all; factord-bench --help names them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

json=''
arguments=()
while (($# > 0)); do
  case "$1" in
    --json) json="$2"; shift ;;
    *) arguments+=("$1") ;;
  esac
  shift
done

tools/install_deps.sh --bench >&2
cmake --preset release -DFACTORD_BUILD_BENCH=ON >&2
cmake --build --preset release --target factord-bench >&2

[[ " ${arguments[*]} " != *" --help "* ]] || exec build/release/benchmarks/factord-bench --help

lines="$(mktemp)"
trap 'rm -f "$lines"' EXIT
status=0
build/release/benchmarks/factord-bench "${arguments[@]}" >"$lines" || status=$?
[[ -z "$json" ]] || cp "$lines" "$json"

python3 - "$lines" <<'PYTHON'
import json
import sys


def short(value, unit):
    for limit, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit and unit not in ("us", "ms", "ns"):
            return f"{value / limit:.3g} {prefix}{unit}"
    return f"{value:,.3g} {unit}" if abs(value) < 1000 else f"{value:,.0f} {unit}"


print("| row | value | against | ratio | target | met |\n|---|---|---|---|---|---|")
for line in open(sys.argv[1]):
    row = json.loads(line)
    reference = ratio = ""
    if row["reference"] is not None:
        reference = f"{row['reference']}, {short(row['reference_value'], row['unit'])}"
        ratio = f"{row['ratio']:.3g}"
    met = {True: "yes", False: "**no**", None: ""}[row["met"]]
    print(f"| {row['name']} | {short(row['value'], row['unit'])} | {reference} | {ratio} | {row['target'] or ''} | {met} |")
PYTHON
exit "$status"
