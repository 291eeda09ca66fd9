// For libraries that are preloaded.
#pragma once

#include <dlfcn.h>

namespace factord {

// What a function of this name was before: that of the library preloaded next, or the C library's.
template <typename Function>
Function NextFunction(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace factord
