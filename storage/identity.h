// The two text files of a data folder: IDENTITY, which says what the folder is, and EVIDENCE, which
// vouches for the state it holds. Internal to storage; docs/storage-format.md shows both.
//
// Both begin with a line that names the kind and a line with the format version, and end with a
// line that holds a checksum of all lines before it. These three lines stay in every later version,
// so that an older program can tell a newer folder from a damaged one. All functions are pure and
// thread-safe.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "storage/store.h"

namespace factord {

// The version of the folder as a whole: its files, column families and keys. Records carry their
// own.
inline constexpr int kFolderFormatVersion = 1;

struct Identity {
  std::string uuid;  // 32 hexadecimal digits, random
  ConfigFields config;
};

// A random uuid, from the kernel.
absl::StatusOr<std::string> NewUuid();

std::string EncodeIdentity(const Identity& identity);
// FAILED_PRECONDITION: another format version, or no file of ours. DATA_LOSS: damaged.
absl::StatusOr<Identity> DecodeIdentity(absl::string_view text);

std::string EncodeEvidence(const std::string& uuid, const StateEvidence& evidence);
// The same errors; DATA_LOSS also if it belongs to a folder with another uuid.
absl::StatusOr<StateEvidence> DecodeEvidence(absl::string_view text, const std::string& uuid);

}  // namespace factord
