#!/usr/bin/env bash
# Installs the Debian 12 packages that factord needs. Does nothing when all are there.
#   tools/install_deps.sh [--python] [--checks] [--image] [--bench]
# --python: for the Python client, and the tests written in Python. --checks: for tools/check_*.sh, promtool, and
# shells to complete in. --image: for tools/build_image.sh where there is no docker or podman. --bench: for
# tools/bench.sh and tools/count_misses.sh.
set -euo pipefail

packages=(
  g++ cmake ninja-build pkgconf ccache
  libabsl-dev libgrpc++-dev protobuf-compiler-grpc libprotobuf-dev protobuf-compiler
  librocksdb-dev libspdlog-dev nlohmann-json3-dev libxxhash-dev prometheus-cpp-dev libssl-dev
  libgtest-dev libgmock-dev
)
python_packages=(
  python3-grpcio python3-protobuf python3-pip python3-setuptools python3-wheel
  python3-venv python3-yaml python3-kubernetes openssl
)
command -v kubectl >/dev/null || python_packages+=(kubernetes-client)
check_packages=(
  clang libclang-rt-14-dev clang-format clang-tidy libbenchmark-dev mold shellcheck git black mypy
  python3-typeshed prometheus zsh fish
)
bench_packages=(libbenchmark-dev libfaiss-dev libhnswlib-dev python3 valgrind)
image_packages=(buildah debootstrap iproute2 openssl)
# buf comes from npm. Debian's npm would clash with one from elsewhere.
command -v npm >/dev/null || check_packages+=(npm)

for argument in "$@"; do
  case "$argument" in
    --python) packages+=("${python_packages[@]}") ;;
    --checks) packages+=("${check_packages[@]}") ;;
    --bench) packages+=("${bench_packages[@]}") ;;
    --image) packages+=("${image_packages[@]}") ;;
    *) echo "install_deps: unknown argument $argument" >&2; exit 2 ;;
  esac
done

if ! command -v apt-get >/dev/null; then
  echo "install_deps: no apt-get here; factord is built on Debian 12" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status="$(dpkg-query -W -f='${db:Status-Status} ' "$package" 2>/dev/null || true)"
  [[ "$status" == *installed* && "$status" != *not-installed* ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

echo "install_deps: installing ${missing[*]}"
if [[ $EUID -eq 0 ]]; then
  as_root=(env)
elif command -v sudo >/dev/null; then
  as_root=(sudo env)
else
  echo "install_deps: needs root or sudo. As root, run: apt-get install ${missing[*]}" >&2
  exit 1
fi
as_root+=(DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)

"${as_root[@]}" update
"${as_root[@]}" install --no-install-recommends -y "${missing[@]}" >/dev/null
echo "install_deps: done"
