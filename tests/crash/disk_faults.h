// What the tests of failing disks share with the library that is preloaded into a server
// (disk_faults.cc): which operation is to fail, and a journal of what is not on the disk yet.
#pragma once

#include <atomic>
#include <cstdint>

namespace factord {

// On what lies in the watched folder.
enum DiskOperation : int32_t {
  kDiskCreate,  // of a file or folder
  kDiskWrite,
  kDiskSync,
  kDiskRename,
  kDiskLink,
  kDiskUnlink,
  kDiskAllocate,  // room set aside for a file, or given back
  kDiskRead,
  kDiskOperationCount
};
// The others, before it, change what is on the disk.
inline constexpr int kDiskChangeCount = kDiskRead;
inline constexpr const char* kDiskOperationNames[kDiskOperationCount] = {
    "create", "write", "sync", "rename", "link", "unlink", "allocate", "read"};

// Environment variables: the file with the DiskControl; the watched folder, an absolute path; the
// folder for the journal, on the same file system.
inline constexpr char kDiskControlVariable[] = "FACTORD_TEST_DISK_CONTROL";
inline constexpr char kDiskFolderVariable[] = "FACTORD_TEST_DISK_FOLDER";
inline constexpr char kDiskJournalVariable[] = "FACTORD_TEST_DISK_JOURNAL";

// In a file that both sides map.
struct DiskControl {
  // The `countdown`th operation of kind `operation` fails with `error`, an errno; of a write that
  // fails so, half is done. `stays`: so does every later one of the kind. An `error` of 0: the
  // process is killed in its place. -1: none fails.
  std::atomic<int32_t> operation{-1};
  std::atomic<int32_t> countdown{0};
  std::atomic<int32_t> error{0};
  std::atomic<bool> stays{false};
  std::atomic<int32_t> failed{0};                      // how many did
  std::atomic<int32_t> passed[kDiskOperationCount]{};  // how many there were
};

// The journal, `journal` in its folder, has a line for each of these, fields with a space between.
// Names and their changes stand there before they are made, what is safe after it is.
//   safe INODE BYTES    so much of a file is on the disk
//   folder PATH N       a sync of this folder begins
//   folder_safe PATH N  the names that it had then are on the disk
//   new PATH            a name is made
//   gone PATH SAVED     a name is taken away; SAVED, in the journal's folder, is another one of it
//   gone_folder PATH    an empty folder is removed
//   moved FROM TO SAVED a name replaces another; SAVED is what it replaces, "-": nothing
inline constexpr char kDiskJournal[] = "journal";

}  // namespace factord
