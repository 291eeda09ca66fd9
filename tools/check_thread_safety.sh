#!/usr/bin/env bash
# Builds everything with clang++: lock annotations are checked, a warning is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"
cmake --preset clang
cmake --build --preset clang -- -k 0  # show every error, not only the first
