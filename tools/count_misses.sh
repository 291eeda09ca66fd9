#!/usr/bin/env bash
# Counts, for ever more users and items, the instructions that learning an event takes, and the cache lines that it
# misses: callgrind's simulation of two levels. Writes benchmarks/misses.inc, which the row "growth" is held against, and
# prints it as a table, in some ten minutes. To be run anew when the engine or the model has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

events=50000
tools/install_deps.sh --bench >&2
cmake --preset release -DFACTORD_BUILD_BENCH=ON >&2
cmake --build --preset release --target factord-misses >&2

output="$(mktemp)"
counts="$(mktemp)"
trap 'rm -f "$output" "$counts"' EXIT

echo "// Written by tools/count_misses.sh: users, items; of an event instructions, misses of 32 KiB, of 32 MiB." >"$counts"
echo "| users | items | instructions | misses, first level | last level |"
echo "|---|---|---|---|---|"
for size in "10000 10677" "100000 10677" "1000000 10677" "10000000 10677" \
  "69878 1000" "69878 10000" "69878 100000" "69878 1000000"; do
  read -r users items <<<"$size"
  # The same caches whatever the machine has.
  valgrind --quiet --tool=callgrind --instr-atstart=no --cache-sim=yes --D1=32768,8,64 --LL=33554432,16,64 \
    --callgrind-out-file="$output" build/release/benchmarks/factord-misses "$users" "$items" "$events"
  # Of the loop with all that it calls; "." is 0.
  callgrind_annotate --inclusive=yes --auto=no --threshold=100 --show=Ir,D1mr,D1mw,DLmr,DLmw "$output" |
    sed -E 's/\([^)]*%\)//g; s/,//g' |
    awk -v n="$events" -v users="$users" -v items="$items" -v counts="$counts" '/LearnGroups/ && !found++ {
      printf "| %d | %d | %.0f | %.0f | %.1f |\n", users, items, $1 / n, ($2 + $3) / n, ($4 + $5) / n
      printf "{%d, %d, %.0f, %.0f, %.1f},\n", users, items, $1 / n, ($2 + $3) / n, ($4 + $5) / n >>counts }'
done
[[ "$(grep -c '^{' "$counts")" == 8 ]] || { echo "a size has not been counted" >&2; exit 1; }
cp "$counts" benchmarks/misses.inc
