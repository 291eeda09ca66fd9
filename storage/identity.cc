#include "storage/identity.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/hash128.h"
#include "storage/file_util.h"

namespace factord {
namespace {

constexpr absl::string_view kIdentityKind = "factord data folder";
constexpr absl::string_view kEvidenceKind = "factord evidence";
constexpr absl::string_view kChecksumLabel = "checksum ";
// "checksum ", 16 digits, newline.
constexpr size_t kChecksumLineBytes = 9 + 16 + 1;

// Configuration values are any bytes, a line is printable: every byte that is not, "%" and "="
// become %XX.
std::string Escape(absl::string_view value) {
  std::string escaped;
  for (const char c : value) {
    if (absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '%' && c != '=') {
      escaped.push_back(c);
    } else {
      absl::StrAppendFormat(&escaped, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return escaped;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 0;
}

// Total: what Escape would have written otherwise is caught by comparing the file as a whole.
std::string Unescape(absl::string_view escaped) {
  std::string value;
  for (size_t i = 0; i < escaped.size(); ++i) {
    if (escaped[i] == '%' && i + 2 < escaped.size()) {
      value.push_back(static_cast<char>(HexDigit(escaped[i + 1]) * 16 + HexDigit(escaped[i + 2])));
      i += 2;
    } else {
      value.push_back(escaped[i]);
    }
  }
  return value;
}

std::string FirstLines(absl::string_view kind) {
  return absl::StrCat(kind, "\nformat ", kFolderFormatVersion, "\n");
}

void AppendChecksum(std::string* text) {
  const uint64_t checksum = HashBytes64(*text);
  absl::StrAppendFormat(text, "%s%016x\n", kChecksumLabel, checksum);
}

bool EndsWithChecksum(absl::string_view text) {
  return text.size() >= kChecksumLineBytes &&
         absl::StartsWith(text.substr(text.size() - kChecksumLineBytes), kChecksumLabel);
}

// The lines between the format version and the checksum.
absl::StatusOr<std::vector<absl::string_view>> CheckedLines(absl::string_view kind,
                                                            absl::string_view text) {
  const absl::string_view start = text.substr(0, kind.size());
  const bool ours = start == kind.substr(0, start.size());
  if (!ours && !EndsWithChecksum(text)) {
    return absl::FailedPreconditionError(absl::StrCat("is not a file of a ", kind));
  }
  if (!EndsWithChecksum(text)) return absl::DataLossError("is cut off");
  // The checksum comes before the version: a flipped digit is damage, not another version.
  std::string checked(text.substr(0, text.size() - kChecksumLineBytes));
  AppendChecksum(&checked);
  if (checked != text) return absl::DataLossError("checksum does not match");

  text.remove_suffix(kChecksumLineBytes);
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  if (!ours || lines.size() < 3 || lines[0] != kind) return absl::DataLossError("is malformed");
  int version;
  if (!absl::ConsumePrefix(&lines[1], "format ") || !absl::SimpleAtoi(lines[1], &version)) {
    return absl::DataLossError("has no format version");
  }
  if (version != kFolderFormatVersion) {
    return absl::FailedPreconditionError(absl::StrCat("has format version ", version,
                                                      ", this program reads format version ",
                                                      kFolderFormatVersion));
  }
  lines.erase(lines.begin(), lines.begin() + 2);
  lines.pop_back();  // what follows the last newline
  return lines;
}

}  // namespace

absl::StatusOr<std::string> NewUuid() {
  Hash128 bits;
  if (getrandom(&bits, sizeof(bits), 0) != static_cast<ssize_t>(sizeof(bits))) {
    return ErrnoStatus(errno, "get", "random bytes");
  }
  return bits.ToHex();
}

std::string EncodeIdentity(const Identity& identity) {
  std::string text = FirstLines(kIdentityKind);
  absl::StrAppend(&text, "uuid ", identity.uuid, "\n");
  for (const auto& [name, value] : identity.config) {
    absl::StrAppend(&text, "config ", Escape(name), "=", Escape(value), "\n");
  }
  AppendChecksum(&text);
  return text;
}

absl::StatusOr<Identity> DecodeIdentity(absl::string_view text) {
  FACTORD_ASSIGN_OR_RETURN(std::vector<absl::string_view> lines, CheckedLines(kIdentityKind, text));
  Identity identity;
  for (absl::string_view line : lines) {
    if (absl::ConsumePrefix(&line, "uuid ")) {
      identity.uuid = std::string(line);
    } else if (absl::ConsumePrefix(&line, "config ")) {
      const std::pair<absl::string_view, absl::string_view> field =
          absl::StrSplit(line, absl::MaxSplits('=', 1));
      identity.config[Unescape(field.first)] = Unescape(field.second);
    }
  }
  // One text for one identity: whatever the loop above passed over shows here.
  if (EncodeIdentity(identity) != text) return absl::DataLossError("is malformed");
  return identity;
}

std::string EncodeEvidence(const std::string& uuid, const StateEvidence& evidence) {
  std::string text = FirstLines(kEvidenceKind);
  absl::StrAppend(&text, "uuid ", uuid, "\nsequence ", evidence.sequence, "\nhash ",
                  evidence.hash.ToHex(), "\n");
  AppendChecksum(&text);
  return text;
}

absl::StatusOr<StateEvidence> DecodeEvidence(absl::string_view text, const std::string& uuid) {
  FACTORD_ASSIGN_OR_RETURN(std::vector<absl::string_view> lines, CheckedLines(kEvidenceKind, text));
  StateEvidence evidence;
  std::string found_uuid;
  for (absl::string_view line : lines) {
    if (absl::ConsumePrefix(&line, "uuid ")) {
      found_uuid = std::string(line);
    } else if (absl::ConsumePrefix(&line, "sequence ")) {
      if (!absl::SimpleAtoi(line, &evidence.sequence)) evidence.sequence = -1;
    } else if (absl::ConsumePrefix(&line, "hash ")) {
      Hash128::FromHex(line, &evidence.hash);
    }
  }
  if (EncodeEvidence(found_uuid, evidence) != text || evidence.sequence < 0) {
    return absl::DataLossError("is malformed");
  }
  if (found_uuid != uuid) return absl::DataLossError("belongs to another data folder");
  return evidence;
}

}  // namespace factord
