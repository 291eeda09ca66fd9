#include "storage/table_check.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/coding.h"
#include "base/hash128.h"
#include "storage/file_util.h"

namespace factord {
namespace {

// The footer: checksum type, handles of two blocks in 40 bytes, format version, magic number.
constexpr uint64_t kFooterBytes = 1 + 40 + 4 + 8;
constexpr uint64_t kTableMagic = 0x88e241b785f4cff7;
constexpr uint8_t kXxh3 = 4;
constexpr uint32_t kFormatVersion = 5;
// Behind each block: compression type, checksum.
constexpr uint64_t kTrailerBytes = 1 + 4;
// Properties take a few kilobytes; more is a damaged handle.
constexpr uint64_t kLargestBlock = uint64_t{1} << 20;

struct BlockHandle {
  uint64_t offset = 0;
  uint64_t size = 0;
};

class TableFile {
 public:
  explicit TableFile(const std::string& path) : in_(path, std::ios::binary) {
    std::error_code error;
    const uint64_t size = std::filesystem::file_size(path, error);
    if (!error) size_ = size;
  }

  // Nullopt: not there.
  std::optional<std::string> Read(uint64_t offset, uint64_t size) {
    if (size > size_ || offset > size_ - size) return std::nullopt;
    std::string bytes(size, '\0');
    in_.seekg(static_cast<std::streamoff>(offset));
    if (!in_.read(bytes.data(), static_cast<std::streamsize>(size))) return std::nullopt;
    return bytes;
  }

  // A block with its trailer.
  std::optional<std::string> Read(const BlockHandle& handle) {
    if (handle.size > kLargestBlock) return std::nullopt;
    return Read(handle.offset, handle.size + kTrailerBytes);
  }

  // The block that lists the others, from a footer of the kind that we write.
  std::optional<BlockHandle> MetaIndex() {
    if (size_ < kFooterBytes) return std::nullopt;
    const std::optional<std::string> footer = Read(size_ - kFooterBytes, kFooterBytes);
    if (!footer.has_value()) return std::nullopt;
    Reader end(absl::string_view(*footer).substr(kFooterBytes - 4 - 8));
    Reader reader(*footer);
    if (end.Fixed32() != kFormatVersion || end.Fixed64() != kTableMagic || reader.Byte() != kXxh3) {
      return std::nullopt;
    }
    BlockHandle handle;
    handle.offset = reader.Varint();
    handle.size = reader.Varint();
    return reader.ok() ? std::optional(handle) : std::nullopt;
  }

 private:
  std::ifstream in_;
  uint64_t size_ = 0;  // of one that cannot be read, too
};

std::optional<BlockHandle> FindProperties(absl::string_view meta_index) {
  Reader reader(meta_index);
  while (reader.ok() && reader.remaining() > 0) {
    const uint64_t shared = reader.Varint();
    const uint64_t key_size = reader.Varint();
    const uint64_t value_size = reader.Varint();
    const absl::string_view key = reader.Bytes(key_size);
    const absl::string_view value = reader.Bytes(value_size);
    if (!reader.ok() || shared != 0) return std::nullopt;
    if (key != "rocksdb.properties") continue;
    Reader handle_reader(value);
    BlockHandle handle;
    handle.offset = handle_reader.Varint();
    handle.size = handle_reader.Varint();
    return handle_reader.Done() ? std::optional(handle) : std::nullopt;
  }
  return std::nullopt;
}

bool ChecksumMatches(absl::string_view block_and_trailer) {
  const size_t size = block_and_trailer.size() - kTrailerBytes;
  Reader trailer(block_and_trailer.substr(size));
  const uint32_t compression = trailer.Byte();
  // RocksDB's way of taking one more byte into a hash of the block.
  const uint32_t computed = static_cast<uint32_t>(HashBytes64(block_and_trailer.substr(0, size))) ^
                            (compression * 0x6b9083d9u);
  return trailer.Fixed32() == computed;
}

// False only if the properties are there and damaged.
bool PropertiesAreWhole(TableFile* file) {
  const std::optional<BlockHandle> meta_index = file->MetaIndex();
  if (!meta_index.has_value()) return true;
  const std::optional<std::string> meta_index_block = file->Read(*meta_index);
  if (!meta_index_block.has_value()) return true;
  const std::optional<BlockHandle> properties = FindProperties(*meta_index_block);
  if (!properties.has_value()) return true;
  const std::optional<std::string> block = file->Read(*properties);
  return !block.has_value() || ChecksumMatches(*block);
}

}  // namespace

absl::Status CheckTable(const std::string& path) {
  TableFile file(path);
  if (PropertiesAreWhole(&file)) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, ": properties that do not match their checksum"));
}

rocksdb::IOStatus TableGuard::NewRandomAccessFile(
    const std::string& path, const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSRandomAccessFile>* result, rocksdb::IODebugContext* debug) {
  if (absl::EndsWith(path, ".sst")) {
    const absl::Status checked = CheckTable(path);
    if (!checked.ok()) return rocksdb::IOStatus::Corruption(std::string(checked.message()));
  }
  return FileSystemWrapper::NewRandomAccessFile(path, options, result, debug);
}

bool EndsAsTable(const std::string& path) { return TableFile(path).MetaIndex().has_value(); }

std::vector<std::string> TablesWithoutFooter(const std::string& folder) {
  std::vector<std::string> found;
  for (const std::string& name : ListFolder(folder).value_or(std::vector<std::string>())) {
    if (!absl::EndsWith(name, ".sst")) continue;
    if (!EndsAsTable(absl::StrCat(folder, "/", name))) found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace factord
