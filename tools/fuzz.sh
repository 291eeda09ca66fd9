#!/usr/bin/env bash
# Runs the fuzz targets for some seconds, each from its corpus; what is found is in build/fuzz.
#   tools/fuzz.sh [SECONDS] [--tally] [TARGET...]    of each target (all without a name); default 60
#     --tally     adds what was run, in seconds of the processor, to tests/fuzz_tally.jsonl; of a
#                 committed tree only
#   tools/fuzz.sh --total    what all tallied runs make together; fails where a target has had less than an hour
#   tools/fuzz.sh --merge [TARGET...]    keeps of what was found the small inputs that reach more code than the
#                 corpora do, in these
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tally=tests/fuzz_tally.jsonl
all=(ratings/rating_reader storage/records server/request server/configuration)
seconds=60
commit=
targets=()
merge=
while (($# > 0)); do
  case "$1" in
    --tally)
      [[ -z "$(git status --porcelain)" ]] || { echo "there are changes that are not committed" >&2; exit 2; }
      commit="$(git rev-parse --short HEAD)" ;;
    --total)
      [[ -e "$tally" ]] || { echo "no run has been tallied yet" >&2; exit 1; }
      exec python3 - "$tally" "${all[@]/%/_fuzzer}" <<'PYTHON'
import collections
import json
import sys

seconds, runs = collections.Counter(), collections.Counter()
for line in open(sys.argv[1]):
    run = json.loads(line)
    seconds[run["target"]] += run["seconds"]
    runs[run["target"]] += run["runs"]
for target in sys.argv[2:]:
    print(f"{target}: {seconds[target] / 3600:.2f} hours, {runs[target]} inputs")
sys.exit(min(seconds[target] for target in sys.argv[2:]) < 3600)
PYTHON
      ;;
    --merge) merge=1 ;;
    *[!0-9]*)
      [[ " ${all[*]} " == *" $1 "* ]] || { echo "unknown argument: $1; targets: ${all[*]}" >&2; exit 2; }
      targets+=("$1") ;;
    *) seconds="$1" ;;
  esac
  shift
done

((${#targets[@]} > 0)) || targets=("${all[@]}")
TIMEFORMAT='%0U + %0S' # of `time`: the processor's seconds, for the program and for the kernel
tools/install_deps.sh --checks >&2
cmake --preset fuzz >&2
cmake --build --preset fuzz --target "${targets[@]/%/_fuzzer}" >&2
for target in "${targets[@]/%/_fuzzer}"; do
  corpus="${target%/*}/testdata/$(basename "${target%_fuzzer}")"
  found="build/fuzz/$target.found"
  log="build/fuzz/$target.log"
  mkdir -p "$found"
  if [[ -n "$merge" ]]; then
    "build/fuzz/$target" -merge=1 -max_len=512 "$corpus" "$found" >"$log" 2>&1 || { tail -30 "$log"; exit 1; }
    echo "$target: $(find "$corpus" -type f | wc -l) inputs in $corpus"
    continue
  fi
  options=(-max_total_time="$seconds" -max_len=32768 -artifact_prefix="$found/")
  # The threads of its server hold memory for a moment, which a look at an input's end takes for lost. The same
  # inputs are replayed under AddressSanitizer, which looks at the end of the process.
  [[ "$target" != server/request_fuzzer ]] || options+=(-detect_leaks=0)
  took="$({ time "build/fuzz/$target" "${options[@]}" "$found" "$corpus" >"$log" 2>&1; } 2>&1)" ||
    { tail -30 "$log"; exit 1; }
  took="$((took))"
  read -r _ runs _ <<<"$(grep '^Done ' "$log")" # N runs in N second(s)
  echo "$target: $runs inputs, $took s of the processor"
  if [[ -n "$commit" ]]; then
    printf '{"target": "%s", "commit": "%s", "seconds": %d, "runs": %d}\n' "$target" "$commit" "$took" "$runs" >>"$tally"
  fi
done
