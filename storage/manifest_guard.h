// Keeps tables that a manifest may list. Internal to storage.
//
// The manifest is RocksDB's list of the database's tables. Where a write or a sync of it fails,
// what it says on disk is unknown; yet RocksDB (7.8) then removes the tables that it had just
// ingested, and a manifest that does list them cannot be opened any more. So from such a failure
// on, until another manifest has taken its place, no table is removed: the next start, which knows
// what is listed, removes what is not. Another manifest has taken its place once CURRENT, which
// names it, was renamed and the folder synced.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "rocksdb/file_system.h"

namespace factord {

// Thread-safe.
class ManifestGuard : public rocksdb::FileSystemWrapper {
 public:
  // `folder` is the database's. Other folders, as of a backup, are left alone.
  ManifestGuard(const std::string& folder, const std::shared_ptr<rocksdb::FileSystem>& files)
      : FileSystemWrapper(files), prefix_(folder + "/") {}
  const char* Name() const override { return "ManifestGuard"; }

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* result,
                                 rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

 private:
  class Manifest;
  class Directory;

  // The name of a file of the database; empty: it is none.
  std::string NameOf(const std::string& path) const;

  const std::string prefix_;
  std::atomic<bool> is_in_doubt_{false};
};

}  // namespace factord
