#!/usr/bin/env bash
# Builds the image of the Dockerfile and shows that it works: it refuses to start unsecured; with TLS and
# tokens it is healthy, takes a rating, recommends, and stops on SIGTERM with exit code 0; it runs without
# root and capabilities and writes nothing outside of its volume.
#   tools/build_image.sh [TAG]      # factord unless given
# With docker or podman where one answers, and the image stays there. Otherwise, as root on Debian, with
# debootstrap and buildah, from the packages this machine installs from; build/image keeps all of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tag="${1:-factord}"
store="$PWD/build/image"
version="$(sed -nE 's/^project\(factord VERSION ([0-9.]+).*/\1/p' CMakeLists.txt)"
revision="$(git describe --always --dirty 2>/dev/null || echo unknown)"

say() { printf '=== %s\n' "$*"; }
die() {
  printf 'build_image: %s\n' "$*" >&2
  [[ ! -s "$work/log" ]] || tail -n 20 "$work/log" >&2
  exit 1
}

work="$(mktemp -d)"
clean_up() {
  [[ -z "${engine:-}" ]] || stop_all
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# What each engine can do:
#   build                     the image
#   start NAME SETTING...     a container in the background; its output goes to $work/log
#   inside COMMAND...         a command in it
#   status FIELD              a field of the server's /proc/PID/status
#   stop                      SIGTERM; sets $code to the exit code
#   written                   files written outside of the volume
#   wait_for_end              sets $code to the exit code
settings=()  # of the secured server
secure() {
  deploy/make_certs.sh --dir="$work/secrets" >/dev/null
  cp "$work/secrets/client/"{ca.crt,token} "$work/secrets/tls/"  # for factorctl, inside
  chmod 755 "$work"
  chmod 444 "$work/secrets/tls/"{ca.crt,token}
  settings=(FACTORD_TLS_CERT_FILE=/etc/factord/tls/tls.crt FACTORD_TLS_KEY_FILE=/etc/factord/tls/tls.key
    FACTORD_TOKEN_FILE=/etc/factord/tokens/tokens)
}

use_docker() {
  docker="$1"
  name="factord-build-image-$$"
  format=()
  health=.Config.Healthcheck
  if [[ "$docker" == podman ]]; then
    format=(--format docker)  # HEALTHCHECK exists only there
    health=.HealthCheck
  fi
  build() {
    DOCKER_BUILDKIT=1 "$docker" build "${format[@]}" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" -t "$tag" .
  }
  start() {
    local environment=() setting
    for setting in "$@"; do environment+=(--env "$setting"); done
    "$docker" rm --force --volumes "$name" >/dev/null 2>&1 || true
    "$docker" run --detach --name "$name" --read-only --cap-drop ALL --security-opt no-new-privileges \
      --volume "$work/secrets/tls:/etc/factord/tls:ro" \
      --volume "$work/secrets/tokens:/etc/factord/tokens:ro" "${environment[@]}" "$tag" >/dev/null
  }
  inside() { "$docker" exec "$name" "$@"; }
  status() { "$docker" exec "$name" sed -n "s/^$1:\t*//p" /proc/1/status; }
  wait_for_end() {
    code="$(timeout 120 "$docker" wait "$name")"
    "$docker" logs "$name" >"$work/log" 2>&1
  }
  stop() { "$docker" kill --signal TERM "$name" >/dev/null; wait_for_end; }
  written() { "$docker" diff "$name" | grep -vE ' /(etc|var|var/lib|etc/factord(/.*)?|var/lib/factord)$' || true; }
  stop_all() { "$docker" rm --force --volumes "$name" >/dev/null 2>&1 || true; }
  health_command() { "$docker" image inspect --format "{{range $health.Test}}{{.}} {{end}}" "$tag"; }
}

# A root file system of Debian, with this machine's package sources.
make_base() {
  local base="$store/base" sources
  # shellcheck disable=SC2016  # apt-get fills these in
  sources="$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' | grep ' bookworm' | sort -u)"
  [[ -n "$sources" ]] || die "this machine installs nothing from Debian 12"
  rm -rf "$base"
  debootstrap --variant=minbase bookworm "$base" "$(awk '$2 == "bookworm" { print $1; exit }' <<<"$sources")" \
    >"$work/log" 2>&1 || die "debootstrap failed"
  rm -f "$base"/etc/apt/sources.list.d/*
  awk '{ print "deb", $0 }' <<<"$sources" >"$base/etc/apt/sources.list"
  apt-config dump Acquire >"$base/etc/apt/apt.conf.d/90host"  # proxies and the like
  rm -rf "$base"/var/cache/apt/archives/*.deb
}

use_buildah() {
  [[ $EUID -eq 0 ]] || die "without docker or podman this needs root"
  tools/install_deps.sh --image
  mkdir -p "$store"
  container=""
  server=""
  b() {
    local command="$1"
    shift
    buildah --root "$store/storage" --runroot "$store/run" --storage-driver vfs "$command" "$@"
  }
  build() {
    local base=docker.io/library/debian:bookworm-slim from
    if ! b inspect --type image "$base" >/dev/null 2>&1; then
      say "making $base with debootstrap"
      make_base
      from="$(b from scratch)"
      b add --quiet "$from" "$store/base" / >/dev/null
      b commit --quiet --rm "$from" "$base" >/dev/null
      rm -rf "$store/base"
    fi
    # HEALTHCHECK exists only in docker's format.
    b bud --isolation chroot --pull-never --format docker --layers=false \
      --build-arg "VERSION=$version" --build-arg "REVISION=$revision" -t "$tag" .
    b rmi --prune >/dev/null  # the image of the run before
  }
  run() { ip netns exec "$netns" buildah --root "$store/storage" --runroot "$store/run" --storage-driver vfs \
    run --isolation chroot --cap-drop ALL "$@"; }
  start() {
    local environment=() setting
    for setting in "$@"; do environment+=(--env "$setting"); done
    stop_all
    netns="factord-$$"  # its ports are its own, as they would be in a container
    ip netns add "$netns"
    ip -netns "$netns" link set lo up
    container="$(b from --pull-never "$tag")"
    root="$(b mount "$container")"
    rm -rf "$work/data"
    install -d -o 10001 -g 10001 "$work/data"
    touch "$work/started"
    # By the image's own configuration: environment, user and entry point.
    run "${environment[@]}" \
      --volume "$work/data:/var/lib/factord" --volume "$work/secrets/tls:/etc/factord/tls:ro" \
      --volume "$work/secrets/tokens:/etc/factord/tokens:ro" "$container" -- \
      "$(b inspect --format '{{index .Docker.Config.Entrypoint 0}}' "$container")" >"$work/log" 2>&1 &
    server=$!
  }
  inside() { run --volume "$work/secrets/tls:/etc/factord/tls:ro" "$container" -- "$@"; }
  pid() { ip netns pids "$netns" | while read -r p; do
    [[ "$(cat "/proc/$p/comm" 2>/dev/null)" != factord ]] || echo "$p"; done; }
  status() { sed -n "s/^$1:\t*//p" "/proc/$(pid)/status"; }
  wait_for_end() { code=0; wait "$server" || code=$?; server=""; }
  stop() { kill -TERM "$(pid)"; wait_for_end; }
  written() { find "$root" -xdev -newer "$work/started" -type f ! -path "$root/etc/*" ! -path "$root/run/*"; }
  stop_all() {
    while [[ -n "$server" ]] && kill -0 "$server" 2>/dev/null; do  # it may only be starting
      ip netns pids "$netns" | xargs --no-run-if-empty kill -KILL 2>/dev/null || true
      sleep 0.1
    done
    server=""
    [[ -z "$container" ]] || b rm "$container" >/dev/null
    container=""
    [[ -z "${netns:-}" ]] || ip netns delete "$netns" 2>/dev/null || true
  }
  health_command() { b inspect --type image --format '{{range .Docker.Config.Healthcheck.Test}}{{.}} {{end}}' "$tag"; }
}

engine=""
for candidate in docker podman; do
  if command -v "$candidate" >/dev/null && timeout 20 "$candidate" info >/dev/null 2>&1; then
    engine="$candidate"
    break
  fi
done
if [[ -n "$engine" ]]; then
  use_docker "$engine"
else
  engine=buildah
  use_buildah
fi

say "building $tag with $engine"
build
secure

say "without certificates"
start
wait_for_end
[[ "$code" == 2 ]] || die "unsecured it ended with $code instead of 2"
grep -q allow_plaintext "$work/log" || die "it does not say what is missing"

say "with TLS and tokens"
start "${settings[@]}"
read -ra check <<<"$(health_command)"
check=("${check[@]:1}")  # without CMD
healthy=""
for ((i = 0; i < 60; ++i)); do
  if inside "${check[@]}" >/dev/null 2>&1; then healthy=yes; break; fi
  sleep 0.5
done
[[ -n "$healthy" ]] || die "not healthy after 30 s"
ctl() { inside factorctl --server=127.0.0.1:7070 --tls_ca_file=/etc/factord/tls/ca.crt "$@"; }
token=(--token_file=/etc/factord/tls/token)
ctl "${token[@]}" rate alice "The Matrix" 4.5 >/dev/null || die "the rating was not taken"
ctl "${token[@]}" rate bob "Alien" 5 >/dev/null || die "the rating was not taken"
ctl "${token[@]}" recommend alice | tee "$work/recommended"
grep -q Alien "$work/recommended" || die "it does not recommend what it was told of"
! ctl recommend alice >/dev/null 2>&1 || die "it answers without a token"
inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/7071 && printf "GET /metrics HTTP/1.0\r\n\r\n" >&3 && cat <&3' >"$work/metrics" ||
  die "no metrics on 7071"
grep -q '^factord_events_total' "$work/metrics" || die "its metrics do not count events"

uid="$(status Uid | awk '{ print $1 }')"
capabilities="$(status CapEff)$(status CapPrm)"
[[ "$uid" == 10001 ]] || die "it runs as user $uid"
[[ "$capabilities" =~ ^0+$ ]] || die "it has capabilities: $capabilities"
stop
[[ "$code" == 0 ]] || die "SIGTERM ended it with $code"
[[ -z "$(written)" ]] || die "it wrote outside of its volume: $(written)"

say "$tag $version: built with $engine; refused to start unsecured; healthy; rated and recommended over TLS" \
  "with a token; measured; user $uid, no capabilities; wrote only to its volume; SIGTERM: exit 0"
