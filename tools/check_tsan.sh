#!/usr/bin/env bash
# Runs the tests of everything below gRPC under ThreadSanitizer. gRPC itself is not
# instrumented and would drown us in false reports. The tests of factor-eval's figures and of damaged
# folders take long in one thread: nothing would be found there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"
cmake --preset tsan
cmake --build --preset tsan
ctest --preset tsan --parallel "$(nproc)" --exclude-regex '^(evaluation/(accuracy_test|factor_eval_test)|engine/engine_damage_test)' "$@"
