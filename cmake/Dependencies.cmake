# Every library that factord uses, found here and nowhere else. All of them are
# Debian 12 packages, listed in tools/install_deps.sh.

find_package(Threads REQUIRED)
find_package(absl CONFIG REQUIRED)           # absl::status, absl::flat_hash_map, ...
find_package(RocksDB CONFIG REQUIRED)        # RocksDB::rocksdb-shared
find_package(spdlog CONFIG REQUIRED)         # spdlog::spdlog
find_package(nlohmann_json CONFIG REQUIRED)  # nlohmann_json::nlohmann_json
find_package(OpenSSL REQUIRED)               # OpenSSL::Crypto: certificates, hashes of tokens
find_package(prometheus-cpp CONFIG REQUIRED) # prometheus-cpp::core, prometheus-cpp::pull
find_package(GTest CONFIG REQUIRED)          # GTest::gtest_main, GTest::gmock

# Debian's libxxhash has no CMake package. Its header alone: what is used of it is inlined.
find_package(PkgConfig REQUIRED)
pkg_check_modules(xxhash REQUIRED QUIET libxxhash)
add_library(xxhash::xxhash INTERFACE IMPORTED GLOBAL)
target_include_directories(xxhash::xxhash INTERFACE ${xxhash_INCLUDE_DIRS})

if(FACTORD_WITH_GRPC)
  find_package(Protobuf MODULE REQUIRED)     # protobuf::libprotobuf; Debian's has no CONFIG package
  find_package(gRPC CONFIG REQUIRED)         # gRPC::grpc++, gRPC::grpc++_reflection, gRPC::grpc_cpp_plugin
endif()

if(FACTORD_BUILD_BENCHMARKS)
  find_package(benchmark CONFIG REQUIRED)    # benchmark::benchmark_main
endif()
