// A look at RocksDB's table files before RocksDB takes them. Internal to storage.
//
// RocksDB 7.8 parses a table's properties before it verifies their checksum, and one flipped bit
// there ends the process (an assertion in Debian's build, reads out of bounds without). Every other
// block is verified first.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "rocksdb/file_system.h"

namespace factord {

// DATA_LOSS if the table file at `path` has a properties block that does not match its checksum. A
// file that does not end in a table's footer is left to RocksDB.
absl::Status CheckTable(const std::string& path);

// Checks each table that RocksDB opens; others may be what a power loss has left of a table that
// the database does not know yet. Thread-safe.
class TableGuard : public rocksdb::FileSystemWrapper {
 public:
  explicit TableGuard(const std::shared_ptr<rocksdb::FileSystem>& files)
      : FileSystemWrapper(files) {}
  const char* Name() const override { return "TableGuard"; }

  rocksdb::IOStatus NewRandomAccessFile(const std::string& path,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                                        rocksdb::IODebugContext* debug) override;
};

// Whether the file at `path` ends as a table of ours: it was not cut off, overwritten, or
// unfinished when the process ended. RocksDB does not always say which file it could not take for a
// table.
bool EndsAsTable(const std::string& path);

// The names of the files in `folder` that are called tables and do not end as one.
std::vector<std::string> TablesWithoutFooter(const std::string& folder);

}  // namespace factord
