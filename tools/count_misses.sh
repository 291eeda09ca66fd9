#!/usr/bin/env bash
# Counts, for ever more users and items, the cache lines that learning an event misses, and those that
# touching its rows and nothing else does: callgrind's simulation of this machine's caches. Prints a table, in some
# fifteen minutes. benchmarks/README.md has the results.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

events=200000
tools/install_deps.sh --bench >&2
cmake --preset release -DFACTORD_BUILD_BENCH=ON >&2
cmake --build --preset release --target factord-misses >&2

output="$(mktemp)"
trap 'rm -f "$output"' EXIT

# Of a function with all that it calls: instructions, reads and writes that missed the first and the last level.
costs() {
  callgrind_annotate --inclusive=yes --auto=no --threshold=100 --show=Ir,D1mr,D1mw,DLmr,DLmw "$output" |
    sed -E 's/\([^)]*%\)//g; s/,//g; s/ \. / 0 /g; s/ \. / 0 /g' | grep -m1 -F "$1" | awk '{print $1, $2 + $3, $4 + $5}'
}

echo "| users | items | instructions an event | first-level misses | last-level misses | touching alone: first | last |"
echo "|---|---|---|---|---|---|---|"
for size in "10000 10677" "100000 10677" "1000000 10677" "69878 1000" "69878 100000" "69878 1000000"; do
  read -r users items <<<"$size"
  valgrind --quiet --tool=callgrind --cache-sim=yes --callgrind-out-file="$output" \
    build/release/benchmarks/factord-misses "$users" "$items" "$events" 2>/dev/null
  read -r instructions first last <<<"$(costs LearnGroups)"
  read -r _ touch_first touch_last <<<"$(costs TouchLines)"
  awk -v n="$events" -v users="$users" -v items="$items" -v i="$instructions" -v f="$first" -v l="$last" \
    -v tf="$touch_first" -v tl="$touch_last" 'BEGIN {
      printf "| %d | %d | %d | %.0f | %.1f | %.0f | %.1f |\n", users, items, i / n, f / n, l / n, tf / n, tl / n }'
done
