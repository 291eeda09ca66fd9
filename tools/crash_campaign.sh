#!/usr/bin/env bash
# Kills a server under load, at random instants and at every named point, and checks after each
# round that nothing acknowledged is lost or doubled. Ends with one line of what was counted;
# tests/crash/ says what a round does.
#   tools/crash_campaign.sh [--duration SECONDS] [--seed N] [--tally]
#     --seed      of every choice; repeats a run's choices (not its instants)
#     --tally     adds what was counted to tests/crash/tally.jsonl; of a committed tree only
#   tools/crash_campaign.sh --total    what the tallied runs of the storage and engine as they are
#     have counted (a change to either makes the runs before it void); fails below 10,000 kills, 100
#     at a point or a fifth amid a snapshot, if no power loss took anything from a server that does not sync,
#     if anything else was lost or doubled, and if a run failed; one whose cause was found names it in the
#     tally ("cause"), and none of its kills count
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tally=tests/crash/tally.jsonl
duration=60
seed="$(((RANDOM << 15) + RANDOM))"
extra=()
while (($# > 0)); do
  case "$1" in
    --duration) duration="$2"; shift ;;
    --seed) seed="$2"; shift ;;
    --tally)
      [[ -z "$(git status --porcelain)" ]] || { echo "there are changes that are not committed" >&2; exit 2; }
      extra=(--tally="$tally" --commit="$(git rev-parse --short HEAD)") ;;
    --total)
      [[ -e "$tally" ]] || { echo "no run has been tallied yet" >&2; exit 1; }
      exec python3 - "$tally" <<'PYTHON'
import collections
import json
import subprocess
import sys

def is_void(run):
    changed = subprocess.run(["git", "diff", "--quiet", run["commit"], "HEAD", "--", "engine", "storage",
                              ":!*_test*", ":!*/test_util.h", ":!*_fuzzer.cc", ":!*_benchmark.cc", ":!*/testdata/*"], check=False)
    return changed.returncode != 0

all_runs = [json.loads(line) for line in open(sys.argv[1])]
explained = [run for run in all_runs if "cause" in run and run["failed"] and not run["lost"] and not run["doubled"]]
runs = [run for run in all_runs if not is_void(run) and run not in explained]
points = collections.Counter()
for run in runs:
    points.update(run["points"])
total = {name: sum(run[name] for run in runs)
         for name in ("kills", "in_snapshot", "other_kills", "power_losses", "acknowledged", "lost", "doubled",
                      "seconds")}
total["taken_back"] = sum(run.get("taken_back", 0) for run in runs)
failed = sum(run["failed"] for run in runs)
for name, count in sorted(points.items(), key=lambda entry: entry[1]):
    print(f"{count:6} {name}")
for run in explained:
    print(f"left out: seed {run['seed']}, which has failed: {run['cause']}")
print(f"{len(runs)} runs ({len(all_runs) - len(runs)} left out), {total['seconds']} s: {total['kills']} kills "
      f"({total['in_snapshot']} amid a snapshot, {total['other_kills']} others, {total['power_losses']} power losses), "
      f"{total['acknowledged']} acknowledged, {total['taken_back']} taken back where nothing is synced, {total['lost']} lost, {total['doubled']} doubled, {failed} runs failed")
enough = total["kills"] >= 10_000 and total["taken_back"] > 0 and min(points.values(), default=0) >= 100 and total["in_snapshot"] >= total["kills"] / 5
sys.exit(0 if enough and not (failed or total["lost"] or total["doubled"]) else 1)
PYTHON
      ;;
    *) echo "unknown argument: $1" >&2; exit 2 ;;
  esac
  shift
done

tools/install_deps.sh >&2
tools/build.sh >&2
exec build/release/tests/crash/crash_campaign --duration="$duration" --seed="$seed" "${extra[@]}"
