#!/usr/bin/env bash
# Builds factord, streams the MovieLens ratings of data/ through it in time order, kills
# the server with SIGKILL on the way, restarts it, and proves that every acknowledged
# rating is there exactly once. Ends with recommendations for two users.
#   FACTORD_DEMO_SECONDS=60  how long the stream shall take
#   FACTORD_DEMO_SEED=...    repeats the moment of an earlier kill
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds="${FACTORD_DEMO_SECONDS:-60}"
seed="${FACTORD_DEMO_SEED:-$(((RANDOM << 15) + RANDOM))}"
ratings=data/ml-latest-small/ratings.csv
titles=data/ml-latest-small/movies.csv
factord=build/release/server/factord
factorctl=build/release/factorctl/factorctl

say() { printf '\n%s\n' "$*"; }
die() {
  printf '\ndemo: %s\n' "$*" >&2
  [[ ! -s "$work/server.log" ]] || { echo "The end of the server's log:" >&2; tail -n 20 "$work/server.log" >&2; }
  exit 1
}

tools/install_deps.sh
tools/build.sh

work="$(mktemp -d)"
server_pid=""
import_pid=""
# shellcheck disable=SC2317  # called by the trap
clean_up() {
  [[ -z "$import_pid" ]] || kill "$import_pid" 2>/dev/null || true
  [[ -z "$server_pid" ]] || kill -KILL "$server_pid" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

port=0  # the first start picks a free one, the second has to take it again
start_server() {
  rm -f "$work/port"
  "$factord" --data_dir="$work/data" --listen="127.0.0.1:$port" --port_file="$work/port" \
    --log_retention=all >>"$work/server.log" 2>&1 &
  server_pid=$!
  for ((i = 0; i < 300; ++i)); do
    [[ ! -s "$work/port" ]] || break
    kill -0 "$server_pid" 2>/dev/null || die "the server ended at start"
    sleep 0.1
  done
  [[ -s "$work/port" ]] || die "the server opened no port within 30 s"
  port="$(<"$work/port")"
  ctl health --wait 30 >/dev/null 2>&1 || die "the server does not serve"
}

# factorctl against the running server.
ctl() { "$factorctl" --server="127.0.0.1:$port" "$@"; }
# The last sequence that the server has acknowledged, or nothing.
acknowledged() { ctl state --json 2>/dev/null | sed -nE 's/.*"sequence": *"?([0-9]+).*/\1/p' | head -n 1; }
# Both as sorted lines "user item rating seconds".
input_events() { tail -n +2 "$ratings" | tr -d '\r' | awk -F, '{ printf "%s %s %.1f %d\n", $1, $2, $3, $4 }' | LC_ALL=C sort; }
log_events() { "$factorctl" log "$work/data" --csv | awk -F, 'NR > 1 { printf "%s %s %.1f %d\n", $2, $3, $4, $5 }' | LC_ALL=C sort; }

total="$(input_events | wc -l)"
RANDOM=$((seed % 32768))
kill_percent=$((30 + RANDOM % 39))
kill_at=$((total * kill_percent / 100))

say "Starting factord on an empty folder."
start_server
say "Streaming $total ratings in the order of their time, in about $seconds s. SIGKILL at $kill_percent% (seed $seed)."
ctl import "$ratings" --sort_by_time --pace_seconds="$seconds" --progress=always &
import_pid=$!

at_kill=0
while ((at_kill < kill_at)); do
  kill -0 "$import_pid" 2>/dev/null || die "the import ended before the kill, at $at_kill ratings"
  sleep 0.1
  now="$(acknowledged || true)"
  at_kill="${now:-$at_kill}"
done
kill -KILL "$server_pid"
wait "$server_pid" 2>/dev/null || true
server_pid=""

on_disk="$(log_events | wc -l)"
say "Killed the server when it had acknowledged at least $at_kill ratings. On disk: $on_disk."
((on_disk >= at_kill)) || die "$((at_kill - on_disk)) acknowledged ratings are missing"
((on_disk * 10 >= total * 3 && on_disk * 10 <= total * 7)) || die "the kill came outside of 30 to 70% of the stream"

say "Starting it again. The import goes on by itself."
start_server
wait "$import_pid" || die "the import failed"
import_pid=""

for user in 547 15; do
  say "User $user should like:"
  ctl recommend "$user" --titles="$titles"
done
say "The model:"
ctl state

kill -TERM "$server_pid"
wait "$server_pid" || die "the server did not stop cleanly"
server_pid=""

input_events >"$work/input"
log_events >"$work/log"
missing="$(LC_ALL=C comm -23 "$work/input" "$work/log" | wc -l)"
extra="$(LC_ALL=C comm -13 "$work/input" "$work/log" | wc -l)"
say "In the log: $(wc -l <"$work/log") of $total ratings; $missing missing, $extra doubled or unknown."
cmp "$work/input" "$work/log" || die "the log does not hold each acknowledged rating exactly once"

say "Replaying the log from empty and comparing the hashes:"
"$factorctl" verify "$work/data" || die "the replay ends in another state"
say "Nothing is missing, nothing is doubled."
