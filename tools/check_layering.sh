#!/usr/bin/env bash
# Checks that no file includes what its layer may not see, and that the layer check
# of the build still refuses wrong dependencies.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=0

# folder: what its files may include, its own headers aside. wire = gRPC, protobuf
# and generated code. Tests, benchmarks and fuzzers see everything.
declare -A may_include=(
  [base]=""
  [ratings]="base"
  [model]="base"
  [storage]="base rocksdb"
  [client]="base wire"
  [engine]="base ratings model storage"
  [server]="base ratings model storage engine wire"
  [factorctl]="base ratings model storage client engine wire"
)
for folder in "${!may_include[@]}"; do
  allowed=" $folder ${may_include[$folder]} "
  while IFS=: read -r file line include; do
    case "$include" in
      rocksdb/*) needs=rocksdb ;;
      grpc/* | grpcpp/* | google/* | factord/v1/*) needs=wire ;;
      *) needs="${include%%/*}"; [[ -v "may_include[$needs]" ]] || continue ;;
    esac
    if [[ "$allowed" != *" $needs "* ]]; then
      echo "$file:$line: $folder may not include $include"
      failed=1
    fi
  done < <(git ls-files --cached --others --exclude-standard -- "$folder/*.h" "$folder/*.cc" |
    { grep -Ev '_(test|benchmark|fuzzer)\.cc$' || true; } |
    xargs --no-run-if-empty grep -HnoP '^\s*#\s*include\s*[<"]\K[^>"]+' || true)
done

# Configures a copy of the tree with one wrong dependency in it; that has to fail.
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C "$copy"

configure() { cmake -S "$copy" -B "$copy/build" -G Ninja >"$copy/log" 2>&1; }

expect_refusal() {  # FOLDER DEPENDENCY
  local lists="$copy/$1/CMakeLists.txt"
  cp "$lists" "$copy/saved"
  echo "target_link_libraries(factord_$1 PRIVATE $2)" >>"$lists"
  if configure || ! grep -q "Layer violation: factord_" "$copy/log"; then
    echo "factord_$1 may link $2: the layer check does not work"
    failed=1
  fi
  cp "$copy/saved" "$lists"
}

if ! configure; then
  cat "$copy/log"
  exit 1
fi
expect_refusal base factord::model         # upwards
expect_refusal model factord::storage      # sideways
expect_refusal base protobuf::libprotobuf  # the wire, directly ...
expect_refusal engine gRPC::grpc++
expect_refusal engine factord::proto       # ... and through a target of ours
expect_refusal engine RocksDB::rocksdb-shared

exit "$failed"
