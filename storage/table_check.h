// A look at RocksDB's table files before RocksDB takes them. Internal to storage.
//
// RocksDB 7.8 parses a table's properties before it verifies their checksum, and one flipped bit
// there ends the process (an assertion in Debian's build, reads out of bounds without). Every other
// block is verified first.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace factord {

// DATA_LOSS, naming the file, if a table file in `folder` has a properties block that does not
// match its checksum. Files that end in no footer of a table are left to RocksDB, which knows
// whether they matter.
absl::Status CheckTableFiles(const std::string& folder);

// The names of those files: cut off, overwritten, or not finished when the process ended. RocksDB
// does not always say which file it could not take for a table.
std::vector<std::string> TablesWithoutFooter(const std::string& folder);

}  // namespace factord
