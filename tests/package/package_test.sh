#!/usr/bin/env bash
# Installs a build into a temporary folder; configures, builds and runs the program of docs/clients.md,
# which knows nothing but that folder, against the installed server.
#   tests/package/package_test.sh BUILD_DIR
set -euo pipefail
build="$(cd "$1" && pwd)"
source_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

work="$(mktemp -d)"
server=""
# shellcheck disable=SC2317  # called by the trap
clean_up() {
  [[ -z "$server" ]] || { kill -KILL "$server" && wait "$server"; } 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
die() {
  echo "package_test: $*" >&2
  [[ ! -s "$work/log" ]] || tail -n 30 "$work/log" >&2
  exit 1
}

# Both components, as docs/clients.md and deploy/systemd install them, are the whole.
for component in runtime development; do
  cmake --install "$build" --prefix "$work/prefix" --component "$component" >"$work/log" ||
    die "the installation of $component fails"
done
prefix="$work/prefix"
for file in bin/factord bin/factorctl share/factord/proto/factord/v1/rating.proto \
    share/factord/service_config.json share/bash-completion/completions/factorctl \
    share/zsh/site-functions/_factorctl share/fish/vendor_completions.d/factorctl.fish \
    share/doc/factord/LICENSE share/doc/factord/operations.md; do
  [[ -s "$prefix/$file" ]] || die "$file is missing"
done
[[ "$(ls "$prefix/include")" == factord ]] || die "there are headers outside of include/factord"
# As a path of its own: with a tree in /src, "master/src/proto" in a comment is none.
literally() { printf %s "$1" | sed 's/[.[*^$+?(){|\\]/\\&/g'; }
named="(^|-[IL]|[^[:alnum:]._/-])($(literally "$source_root")|$(literally "$build"))(/|[^[:alnum:]._-]|\$)"
if grep -rnE "$named" "$prefix/include" "$prefix/share" "$prefix/lib/cmake" >"$work/log"; then
  die "the installation names the tree that it comes from"
fi

# The project is outside of the tree: nothing of the tree may be found by chance.
block() {  # LANGUAGE FILE: the one block of the document in that language
  awk -v begin="\`\`\`$1" '$0 == begin { inside = 1; ++blocks; next } $0 == "```" { inside = 0 } inside
    END { exit blocks != 1 }' "$source_root/docs/clients.md" >"$work/project/$2" ||
    die "docs/clients.md has not just one block of $1"
}
mkdir "$work/project"
block cpp recommend.cc
block cmake CMakeLists.txt
cd "$work/project"
{ cmake -G Ninja -S . -B build -DCMAKE_PREFIX_PATH="$prefix" && cmake --build build; } >"$work/log" 2>&1 ||
  die "the program of docs/clients.md cannot be built"

"$prefix/bin/factord" --data_dir="$work/data" --listen=127.0.0.1:0 --port_file="$work/port" \
  --min_free_bytes=1000000 >"$work/log" 2>&1 &
server=$!
for ((i = 0; i < 600; ++i)); do
  [[ ! -s "$work/port" ]] || break
  kill -0 "$server" 2>/dev/null || die "the server has ended"
  sleep 0.1
done
[[ -s "$work/port" ]] || die "the server opens no port"
# The port is open before the model is loaded: the client waits for that.
output="$(build/recommend "127.0.0.1:$(head -n 1 "$work/port")")" || die "the program fails"
[[ "$output" == "bob may like casablanca, with a score of "* ]] || die "it says: $output"
