#include "tests/crash/faulty_disk.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/match.h"
#include "base/test_file.h"

namespace factord {
namespace {

namespace fs = std::filesystem;

uint64_t InodeOf(const fs::path& path) {
  struct stat file;
  return stat(path.c_str(), &file) == 0 ? file.st_ino : 0;
}

void Zero(const fs::path& path, uint64_t begin, uint64_t end) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(begin));
  file << std::string(end - begin, '\0');
}

// Cuts a file to what is `safe` and some of the rest.
void LoseTheEnd(const fs::path& path, uint64_t safe, std::mt19937_64& random) {
  const uint64_t size = fs::file_size(path);
  if (size <= safe) return;
  const uint64_t unsafe = size - safe;
  // Often all or nothing, which chance alone would hardly ever do.
  const uint64_t choice = random() % 4;
  const uint64_t kept = choice == 0 ? 0 : choice == 1 ? unsafe : random() % (unsafe + 1);
  fs::resize_file(path, safe + kept);
  if (kept == 0 || random() % 2 == 0) return;
  // Pages that were not written are zeros: up to the end, or with others behind them. At the end of
  // a manifest they are DATA_LOSS (docs/storage-format.md).
  if (path.extension() != ".log" && path.extension() != ".sst") return;
  const uint64_t end = safe + kept;
  const uint64_t begin = safe + random() % kept;
  Zero(path, begin, random() % 2 == 0 ? end : begin + 1 + random() % (end - begin));
}

}  // namespace

FaultyDisk::FaultyDisk(std::string folder)
    : folder_(std::move(folder)), journal_folder_(folder_.string() + ".journal") {}

bool FaultyDisk::IsPossible() {
#ifdef FACTORD_DISK_FAULTS_LIBRARY
  return true;
#else
  return false;
#endif
}

void FaultyDisk::BeginJournal() {
  fs::remove_all(journal_folder_);
  fs::create_directories(journal_folder_);
  std::ofstream journal(journal_folder_ / kDiskJournal);
  if (!fs::exists(folder_)) return;
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (!entry.is_regular_file()) continue;
    journal << "safe " << InodeOf(entry.path()) << " " << entry.file_size() << "\n";
  }
}

void FaultyDisk::CutJournal() {
  const fs::path journal = journal_folder_ / kDiskJournal;
  fs::resize_file(journal, ReadAll(journal).rfind('\n') + 1);
}

void FaultyDisk::Prepare(std::vector<std::string>* environment, bool all_is_on_disk) {
  control_.Reset();
  all_is_on_disk ? BeginJournal() : CutJournal();
#ifdef FACTORD_DISK_FAULTS_LIBRARY
  const std::string library = FACTORD_DISK_FAULTS_LIBRARY;
  const auto preload =
      std::find_if(environment->begin(), environment->end(),
                   [](const std::string& entry) { return absl::StartsWith(entry, "LD_PRELOAD="); });
  if (preload != environment->end()) {
    *preload += ":" + library;
  } else {
    environment->push_back("LD_PRELOAD=" + library);
  }
  environment->push_back(std::string(kDiskControlVariable) + "=" + control_.path());
  environment->push_back(std::string(kDiskFolderVariable) + "=" + folder_.string());
  environment->push_back(std::string(kDiskJournalVariable) + "=" + journal_folder_.string());
#endif
}

void FaultyDisk::Fail(DiskOperation operation, int nth, int error, bool stays) {
  control_->countdown = nth;
  control_->error = error;
  control_->stays = stays;
  control_->operation = operation;
}

void FaultyDisk::Undo(const Change& change) {
  // What a folder held has gone with it, whatever became of the names in it before.
  if (!fs::exists(fs::path(change.path).parent_path())) return;
  if (change.kind == "new") {
    fs::remove_all(change.path);
  } else if (fs::exists(change.path)) {
    return;  // it had not been done yet
  } else if (change.kind == "gone_folder") {
    fs::create_directory(change.path);
  } else if (change.kind == "gone") {
    if (fs::exists(change.saved)) fs::rename(change.saved, change.path);
  } else if (fs::exists(change.target)) {
    fs::rename(change.target, change.path);
    if (fs::exists(change.saved)) fs::rename(change.saved, change.target);
  }
}

void FaultyDisk::LosePower(std::mt19937_64* random) {
  std::map<uint64_t, uint64_t> safe;  // inode -> bytes
  std::vector<Change> changes;
  std::map<fs::path, std::vector<size_t>> pending;  // folder -> places in `changes`
  std::map<int, size_t> syncs;                      // how many changes there were when it began
  std::ifstream journal(journal_folder_ / kDiskJournal);
  for (std::string line; std::getline(journal, line);) {
    std::istringstream fields(line);
    Change change;
    fields >> change.kind;
    if (change.kind == "safe") {
      uint64_t inode = 0, bytes = 0;
      fields >> inode >> bytes;
      safe[inode] = bytes;
    } else if (change.kind == "folder" || change.kind == "folder_safe") {
      int number = 0;
      fields >> change.path >> number;
      if (change.kind == "folder") {
        syncs[number] = changes.size();
      } else {
        std::erase_if(pending[change.path],
                      [end = syncs[number]](size_t place) { return place < end; });
      }
    } else {
      fields >> change.path;
      if (change.kind == "moved") fields >> change.target;
      fields >> change.saved;
      const fs::path changed = change.kind == "moved" ? change.target : change.path;
      if (changed == folder_) continue;  // what the folder lies in is not watched
      pending[changed.parent_path()].push_back(changes.size());
      changes.push_back(change);
    }
  }
  std::set<size_t, std::greater<>> lost;  // the newest first
  for (const auto& [folder, places] : pending) {
    const size_t kept = (*random)() % (places.size() + 1);
    lost.insert(places.begin() + static_cast<std::ptrdiff_t>(kept), places.end());
  }
  for (const size_t place : lost) Undo(changes[place]);
  if (!fs::exists(folder_)) return;  // the server had not got that far
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (!entry.is_regular_file()) continue;
    const auto found = safe.find(InodeOf(entry.path()));
    LoseTheEnd(entry.path(), found != safe.end() ? found->second : 0, *random);
  }
}

}  // namespace factord
