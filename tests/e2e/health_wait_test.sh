#!/usr/bin/env bash
# `factorctl health --wait` finds a server that comes up while it waits. Two processes: within one, a server's threads
# would move the client's connection on, too, and hide a client that does not.
#   health_wait_test.sh FACTORD FACTORCTL
set -euo pipefail
folder="$(mktemp -d)"
server=
stop() {
  [[ -z "$server" ]] || kill "$server" 2>/dev/null || true
  wait
  rm -rf "$folder"
}
trap stop EXIT

start() {
  "$1" --data_dir="$folder/data" --listen="$2" --port_file="$folder/port" >>"$folder/log" 2>&1 &
  server=$!
}

# A port that is free: the system's choice for a first run.
start "$1" 127.0.0.1:0
for ((i = 0; i < 300; ++i)); do
  [[ ! -s "$folder/port" ]] || break
  sleep 0.1
done
address="127.0.0.1:$(<"$folder/port")"
kill "$server"
wait "$server"

"$2" health --server "$address" --wait 4 &
asking=$!
sleep 0.5
start "$1" "$address"
wait "$asking"
