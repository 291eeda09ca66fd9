#!/usr/bin/env bash
# Checks the layout of python/ with black and its types with mypy.
#   tools/check_python.sh [--fix]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mode=(--check)
[[ "${1:-}" != --fix ]] || mode=()
black "${mode[@]}" python

# With the messages, in a copy, because setuptools leaves its things in the source folder.
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
cp -rL python/. "$copy"
cd "$copy"
rm -rf build
/usr/bin/python3 setup.py --quiet build --build-lib "$copy/built" 2>/dev/null
export MYPYPATH="$copy/built"
mypy -p factord
mypy setup.py tests
