#!/usr/bin/env bash
# Runs clang-tidy over the sources, or over those that match a pattern:
#   tools/check_tidy.sh [engine/.*]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"
cmake --preset clang
cmake --build --preset clang  # generated headers have to exist
run-clang-tidy -quiet -j "$CMAKE_BUILD_PARALLEL_LEVEL" -p build/clang "$PWD/(?!build/)${1:-.*}"
