// A number of bytes as people write it: 268435456, 256MiB, 1GiB. The type of flags that mean bytes.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace factord {

struct ByteSize {
  int64_t bytes = 0;
};

// A whole number, at least 0, alone or followed by KiB, MiB, GiB or TiB.
bool AbslParseFlag(absl::string_view text, ByteSize* size, std::string* error);
// In the largest unit that needs no fraction.
std::string AbslUnparseFlag(ByteSize size);

}  // namespace factord
