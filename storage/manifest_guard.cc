#include "storage/manifest_guard.h"

#include <utility>

#include "absl/strings/match.h"

namespace factord {

// A manifest that is being written.
class ManifestGuard::Manifest : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  Manifest(std::atomic<bool>* is_in_doubt, std::unique_ptr<rocksdb::FSWritableFile> file)
      : FSWritableFileOwnerWrapper(std::move(file)), is_in_doubt_(is_in_doubt) {}

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Append(data, options, debug));
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo& verification,
                           rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Append(data, options, verification, debug));
  }
  rocksdb::IOStatus Flush(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Flush(options, debug));
  }
  rocksdb::IOStatus RangeSync(uint64_t offset, uint64_t bytes, const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::RangeSync(offset, bytes, options, debug));
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Sync(options, debug));
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Fsync(options, debug));
  }

 private:
  rocksdb::IOStatus Note(rocksdb::IOStatus status) {
    if (!status.ok()) *is_in_doubt_ = true;
    return status;
  }

  std::atomic<bool>* const is_in_doubt_;
};

// The database's folder.
class ManifestGuard::Directory : public rocksdb::FSDirectoryWrapper {
 public:
  Directory(ManifestGuard* guard, std::unique_ptr<rocksdb::FSDirectory> directory)
      : FSDirectoryWrapper(std::move(directory)), guard_(guard) {}

  rocksdb::IOStatus FsyncWithDirOptions(const rocksdb::IOOptions& options,
                                        rocksdb::IODebugContext* debug,
                                        const rocksdb::DirFsyncOptions& why) override {
    rocksdb::IOStatus status = FSDirectoryWrapper::FsyncWithDirOptions(options, debug, why);
    if (guard_->NameOf(why.renamed_new_name) == "CURRENT") guard_->is_in_doubt_ = !status.ok();
    return status;
  }

 private:
  ManifestGuard* const guard_;
};

std::string ManifestGuard::NameOf(const std::string& path) const {
  return absl::StartsWith(path, prefix_) ? path.substr(prefix_.size()) : "";
}

rocksdb::IOStatus ManifestGuard::NewWritableFile(const std::string& path,
                                                 const rocksdb::FileOptions& options,
                                                 std::unique_ptr<rocksdb::FSWritableFile>* result,
                                                 rocksdb::IODebugContext* debug) {
  rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(path, options, result, debug);
  if (status.ok() && absl::StartsWith(NameOf(path), "MANIFEST-")) {
    *result = std::make_unique<Manifest>(&is_in_doubt_, std::move(*result));
  }
  return status;
}

rocksdb::IOStatus ManifestGuard::NewDirectory(const std::string& path,
                                              const rocksdb::IOOptions& options,
                                              std::unique_ptr<rocksdb::FSDirectory>* result,
                                              rocksdb::IODebugContext* debug) {
  rocksdb::IOStatus status = FileSystemWrapper::NewDirectory(path, options, result, debug);
  if (status.ok()) *result = std::make_unique<Directory>(this, std::move(*result));
  return status;
}

rocksdb::IOStatus ManifestGuard::DeleteFile(const std::string& path,
                                            const rocksdb::IOOptions& options,
                                            rocksdb::IODebugContext* debug) {
  if (is_in_doubt_ && absl::EndsWith(NameOf(path), ".sst")) return rocksdb::IOStatus::OK();
  return FileSystemWrapper::DeleteFile(path, options, debug);
}

}  // namespace factord
