// Asking memory early for what will be read.
#pragma once

namespace factord {

// Hints the cache line of `address`, which need not be valid, into the cache.
inline void PrefetchLine(const void* address) {
  __builtin_prefetch(address);
  // To g++ 12 a function that only prefetches has no effect, so it drops calls of it. Not with
  // this.
  asm volatile("");
}

}  // namespace factord
