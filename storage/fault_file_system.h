// A RocksDB file system for tests: it lets chosen operations fail, and knows how much of each file
// has been synced, so that a power loss can be played. Header only; for tests.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"

namespace factord {

// Thread-safe.
class FaultFileSystem : public rocksdb::FileSystemWrapper {
 public:
  enum class Operation { kCreate, kAppend, kSync };
  // Asked before each operation on a file that is written; an error is returned instead of doing
  // it.
  using Fault = std::function<rocksdb::IOStatus(Operation, const std::string& path)>;

  FaultFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FaultFileSystem"; }

  // Null: no fault from now on.
  void SetFault(Fault fault) {
    MutexLock lock(&mu_);
    fault_ = std::move(fault);
  }

  // Copies the folder `from` to `to` as a power loss now would leave it: what has not been synced
  // is gone. Names are taken to be durable.
  void CopyAsAfterPowerLoss(const std::string& from, const std::string& to) {
    namespace fs = std::filesystem;
    WriterMutexLock standstill(&running_);
    fs::copy(from, to, fs::copy_options::recursive);
    MutexLock lock(&mu_);
    for (const auto& [path, file] : files_) {
      if (!absl::StartsWith(path, from + "/")) continue;
      const std::string copy = to + path.substr(from.size());
      if (fs::exists(copy)) fs::resize_file(copy, file->synced);
    }
  }

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    ReaderMutexLock running(&running_);
    rocksdb::IOStatus status = Ask(Operation::kCreate, path);
    if (!status.ok()) return status;
    std::unique_ptr<rocksdb::FSWritableFile> file;
    status = FileSystemWrapper::NewWritableFile(path, options, &file, debug);
    if (!status.ok()) return status;
    auto extent = std::make_shared<Extent>();
    {
      MutexLock lock(&mu_);
      files_[path] = extent;
    }
    *result = std::make_unique<File>(this, path, std::move(extent), std::move(file));
    return status;
  }

  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    ReaderMutexLock running(&running_);
    const rocksdb::IOStatus status = FileSystemWrapper::RenameFile(from, to, options, debug);
    MutexLock lock(&mu_);
    if (const auto node = files_.extract(from); status.ok() && !node.empty()) {
      files_[to] = node.mapped();
    }
    return status;
  }

  rocksdb::IOStatus LinkFile(const std::string& from, const std::string& to,
                             const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
    ReaderMutexLock running(&running_);
    const rocksdb::IOStatus status = FileSystemWrapper::LinkFile(from, to, options, debug);
    MutexLock lock(&mu_);
    if (const auto it = files_.find(from); status.ok() && it != files_.end()) {
      files_[to] = it->second;
    }
    return status;
  }

  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    ReaderMutexLock running(&running_);
    return FileSystemWrapper::DeleteFile(path, options, debug);
  }

 private:
  struct Extent {
    uint64_t written = 0;
    uint64_t synced = 0;
  };

  class File : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    File(FaultFileSystem* fs, std::string path, std::shared_ptr<Extent> extent,
         std::unique_ptr<rocksdb::FSWritableFile> file)
        : FSWritableFileOwnerWrapper(std::move(file)),
          fs_(fs),
          path_(std::move(path)),
          extent_(std::move(extent)) {}

    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
      ReaderMutexLock running(&fs_->running_);
      rocksdb::IOStatus status = fs_->Ask(Operation::kAppend, path_);
      if (status.ok()) status = FSWritableFileOwnerWrapper::Append(data, options, debug);
      MutexLock lock(&fs_->mu_);
      if (status.ok()) extent_->written += data.size();
      return status;
    }
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             const rocksdb::DataVerificationInfo&,
                             rocksdb::IODebugContext* debug) override {
      return Append(data, options, debug);
    }
    rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
      ReaderMutexLock running(&fs_->running_);
      rocksdb::IOStatus status = fs_->Ask(Operation::kSync, path_);
      if (status.ok()) status = FSWritableFileOwnerWrapper::Sync(options, debug);
      MutexLock lock(&fs_->mu_);
      if (status.ok()) extent_->synced = extent_->written;
      return status;
    }
    rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                            rocksdb::IODebugContext* debug) override {
      return Sync(options, debug);
    }

   private:
    FaultFileSystem* const fs_;
    const std::string path_;
    const std::shared_ptr<Extent> extent_;
  };

  rocksdb::IOStatus Ask(Operation operation, const std::string& path) {
    Fault fault;
    {
      MutexLock lock(&mu_);
      fault = fault_;
    }
    return fault ? fault(operation, path) : rocksdb::IOStatus::OK();
  }

  // Held for reading by everything that changes a file, for writing by what needs a view of one
  // instant. Taken before mu_.
  SharedMutex running_;
  Mutex mu_;
  Fault fault_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::shared_ptr<Extent>> files_ ABSL_GUARDED_BY(mu_);
};

}  // namespace factord
