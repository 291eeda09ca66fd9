#!/usr/bin/env bash
# Runs every fuzz target for some seconds, each from its corpus; what is found is in build/fuzz.
#   tools/fuzz.sh [SECONDS] [--tally]    of each target; default 60
#     --tally     adds what was run to tests/fuzz_tally.jsonl; of a committed tree only
#   tools/fuzz.sh --total    what all tallied runs make together
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tally=tests/fuzz_tally.jsonl
seconds=60
commit=
while (($# > 0)); do
  case "$1" in
    --tally)
      [[ -z "$(git status --porcelain)" ]] || { echo "there are changes that are not committed" >&2; exit 2; }
      commit="$(git rev-parse --short HEAD)" ;;
    --total)
      [[ -e "$tally" ]] || { echo "no run has been tallied yet" >&2; exit 1; }
      exec python3 - "$tally" <<'PYTHON'
import collections
import json
import sys

seconds, runs = collections.Counter(), collections.Counter()
for line in open(sys.argv[1]):
    run = json.loads(line)
    seconds[run["target"]] += run["seconds"]
    runs[run["target"]] += run["runs"]
for target in seconds:
    print(f"{target}: {seconds[target] / 3600:.2f} hours, {runs[target]} inputs")
PYTHON
      ;;
    *[!0-9]*) echo "unknown argument: $1" >&2; exit 2 ;;
    *) seconds="$1" ;;
  esac
  shift
done

targets=(ratings/rating_reader storage/records server/request server/configuration)
tools/install_deps.sh --checks >&2
cmake --preset fuzz >&2
cmake --build --preset fuzz --target "${targets[@]/%/_fuzzer}" >&2
for target in "${targets[@]/%/_fuzzer}"; do
  corpus="${target%/*}/testdata/$(basename "${target%_fuzzer}")"
  found="build/fuzz/$target.found"
  log="build/fuzz/$target.log"
  mkdir -p "$found"
  "build/fuzz/$target" -max_total_time="$seconds" -artifact_prefix="$found/" "$found" "$corpus" >"$log" 2>&1 ||
    { tail -30 "$log"; exit 1; }
  done_line="$(tail -1 "$log")" # Done N runs in N second(s)
  echo "$target: $done_line"
  if [[ -n "$commit" ]]; then
    read -r _ runs _ _ took _ <<<"$done_line"
    printf '{"target": "%s", "commit": "%s", "seconds": %d, "runs": %d}\n' "$target" "$commit" "$took" "$runs" >>"$tally"
  fi
done
