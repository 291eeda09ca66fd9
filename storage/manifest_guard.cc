#include "storage/manifest_guard.h"

#include <utility>

#include "absl/strings/match.h"

namespace factord {
namespace {

bool IsManifest(const std::string& path) { return absl::StrContains(path, "/MANIFEST-"); }

}  // namespace

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

rocksdb::IOStatus ManifestGuard::NewWritableFile(const std::string& path,
                                                 const rocksdb::FileOptions& options,
                                                 std::unique_ptr<rocksdb::FSWritableFile>* result,
                                                 rocksdb::IODebugContext* debug) {
  rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(path, options, result, debug);
  if (status.ok() && IsManifest(path)) {
    *result = std::make_unique<Manifest>(&is_in_doubt_, std::move(*result));
  }
  return status;
}

rocksdb::IOStatus ManifestGuard::RenameFile(const std::string& from, const std::string& to,
                                            const rocksdb::IOOptions& options,
                                            rocksdb::IODebugContext* debug) {
  rocksdb::IOStatus status = FileSystemWrapper::RenameFile(from, to, options, debug);
  // It names the manifest, and the new one has all that was before it.
  if (status.ok() && absl::EndsWith(to, "/CURRENT")) is_in_doubt_ = false;
  return status;
}

rocksdb::IOStatus ManifestGuard::DeleteFile(const std::string& path,
                                            const rocksdb::IOOptions& options,
                                            rocksdb::IODebugContext* debug) {
  if (is_in_doubt_ && absl::EndsWith(path, ".sst")) return rocksdb::IOStatus::OK();
  return FileSystemWrapper::DeleteFile(path, options, debug);
}

}  // namespace factord
