#!/usr/bin/env bash
# Runs every fuzz target for some seconds, each from its corpus; what is found is in build/fuzz.
#   tools/fuzz.sh [SECONDS]    of each target; default 60
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds="${1:-60}"
tools/install_deps.sh --checks >&2
cmake --preset fuzz >&2
cmake --build --preset fuzz --target rating_reader_fuzzer records_fuzzer request_fuzzer >&2
for target in ratings/rating_reader storage/records server/request; do
  found="build/fuzz/${target}_fuzzer.found"
  mkdir -p "$found"
  log="build/fuzz/${target}_fuzzer.log"
  "build/fuzz/${target}_fuzzer" -max_total_time="$seconds" -artifact_prefix="$found/" \
    "$found" "${target%/*}/testdata/corpus" >"$log" 2>&1 || { tail -30 "$log"; exit 1; }
  echo "$target: $(tail -1 "$log")"
done
