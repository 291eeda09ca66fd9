#!/usr/bin/env bash
# Lints proto/ and compares it with the last release: no change may break a client.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=1.75.0
home="build/buf-$version"
if [[ ! -x "$home/node_modules/.bin/buf" ]]; then
  npm install --loglevel=error --no-save --no-audit --no-fund --prefix "$home" "@bufbuild/buf@$version"
fi
buf="$PWD/$home/node_modules/.bin/buf"

"$buf" lint

release="$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)"
if [[ -z "$release" ]]; then
  echo "check_buf: no release yet, nothing to compare with"
  exit 0
fi
before="$(mktemp -d)"
trap 'rm -rf "$before"' EXIT
git archive "$release" | tar -x -C "$before"
"$buf" breaking --against "$before"
