// Seeds that keep the kinds of record apart in the state hash. Part of the format: never change
// one.
#pragma once

#include <cstdint>

namespace factord {

inline constexpr uint64_t kUserHashSeed = 1;
inline constexpr uint64_t kItemHashSeed = 2;
inline constexpr uint64_t kDedupeHashSeed = 3;
inline constexpr uint64_t kProducerHashSeed = 4;
inline constexpr uint64_t kConfigHashSeed = 5;

}  // namespace factord
