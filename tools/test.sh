#!/usr/bin/env bash
# Installs what is missing, builds, and runs all tests. Arguments go to ctest:
#   tools/test.sh -R engine
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools/install_deps.sh --python
tools/build.sh
ctest --preset release --parallel "$(nproc)" "$@"
