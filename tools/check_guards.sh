#!/usr/bin/env bash
# Takes protections away, one by one, and expects the test that is named for each to fail: a test that
# stays green guards nothing.
#   tools/check_guards.sh [NAME...]    of tests/guards/NAME.patch; default: all
#   tools/check_guards.sh --fit        only whether all patches still fit, on the working tree
# A patch begins with what it takes away, the binary of the test, the test, and, if it needs ThreadSanitizer
# to be seen, "preset: tsan". Works on a copy of the last commit in build/guards, and takes some 15 minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ "${1:-}" == --fit ]]; then
  for patch in tests/guards/*.patch; do
    patch --quiet --dry-run --fuzz=0 --strip=1 --input="$patch" || { echo "$patch does not fit" >&2; exit 1; }
  done
  exit 0
fi

names=("$@")
if [[ $# -eq 0 ]]; then
  for patch in tests/guards/*.patch; do names+=("$(basename "$patch" .patch)"); done
fi

tree="$PWD/build/guards"
rm -rf "$tree"
mkdir -p "$tree"
git archive HEAD | tar -x -C "$tree"
export CCACHE_BASEDIR="$tree" CCACHE_NOHASHDIR=1
CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"
export CMAKE_BUILD_PARALLEL_LEVEL
cd "$tree"

build() {  # PRESET BINARY
  { cmake --preset "$1" -DFACTORD_BUILD_BENCH=OFF && cmake --build --preset "$1" --target "${2//\//_}"; } \
    >build.log 2>&1 && return
  tail -20 build.log
  exit 1
}
is_green() {  # PRESET BINARY TEST
  local result=0
  timeout 300 "build/$1/$2" --gtest_filter="$3" >test.log 2>&1 || result=$?
  [[ $result -ne 124 ]] || echo "$3: does not end, which tells nothing"
  ((result == 0 || result == 124))
}

green=()
for name in "${names[@]}"; do
  patch="tests/guards/$name.patch"
  binary="$(sed -n 's/^binary: //p' "$patch")"
  test="$(sed -n 's/^test: //p' "$patch")"
  preset="$(sed -n 's/^preset: //p' "$patch")"
  preset="${preset:-release}"
  build "$preset" "$binary"
  is_green "$preset" "$binary" "$test" || { echo "$name: the test fails as it is"; tail -20 test.log; exit 1; }
  patch --quiet --fuzz=0 --strip=1 --input="$patch"
  build "$preset" "$binary"
  if is_green "$preset" "$binary" "$test"; then
    green+=("$name")
    echo "GREEN $name: $(head -1 "$patch")"
  else
    echo "red   $name: $(head -1 "$patch")"
  fi
  patch --quiet --strip=1 --reverse --input="$patch"
done
if [[ ${#green[@]} -gt 0 ]]; then
  echo "tests that guard nothing: ${green[*]}" >&2
  exit 1
fi
echo "${#names[@]} protections, and a test for each that fails without it"
