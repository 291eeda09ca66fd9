#!/usr/bin/env bash
# Builds build/release, optimized. Arguments go to cmake --build:
#   tools/build.sh --target factord factorctl
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"
cmake --preset release -DFACTORD_BUILD_BENCH=OFF  # also where tools/bench.sh has switched it on
cmake --build --preset release "$@"
