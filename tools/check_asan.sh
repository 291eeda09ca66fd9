#!/usr/bin/env bash
# Runs all tests under AddressSanitizer and UndefinedBehaviorSanitizer, but for those
# of figures: the code behind them has tests of its own, and these take long.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"
cmake --preset asan
cmake --build --preset asan
ctest --preset asan --parallel "$(nproc)" --label-exclude accuracy "$@"
