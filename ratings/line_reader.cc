#include "ratings/line_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"

namespace factord {
namespace {

// Large enough that reading costs little, small enough to stay in the second-level cache.
constexpr size_t kBufferBytes = size_t{256} << 10;
static_assert(kBufferBytes > 2 * LineReader::kMaxLineBytes);

constexpr absl::string_view kByteOrderMark = "\xEF\xBB\xBF";

class FileDescriptor {
 public:
  FileDescriptor(int fd, bool owned) : fd_(fd), owned_(owned) {}
  ~FileDescriptor() {
    if (owned_) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
  const bool owned_;
};

LineReader::ByteSource ReadFrom(std::shared_ptr<FileDescriptor> fd, std::string name) {
  return [fd = std::move(fd), name = std::move(name)](char* data,
                                                      size_t size) -> absl::StatusOr<size_t> {
    while (true) {
      const ssize_t n = read(fd->get(), data, size);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno != EINTR) return absl::ErrnoToStatus(errno, absl::StrCat(name, ": cannot read"));
    }
  };
}

}  // namespace

absl::StatusOr<std::unique_ptr<LineReader>> LineReader::Open(const std::string& path) {
  if (path == "-") {
    auto fd = std::make_shared<FileDescriptor>(STDIN_FILENO, /*owned=*/false);
    return std::make_unique<LineReader>(ReadFrom(std::move(fd), "<stdin>"), "<stdin>");
  }
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot open"));
  auto owner = std::make_shared<FileDescriptor>(fd, /*owned=*/true);
  struct stat info;
  if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": is a folder, not a file"));
  }
  return std::make_unique<LineReader>(ReadFrom(std::move(owner), path), path);
}

std::unique_ptr<LineReader> LineReader::FromText(absl::string_view text, std::string name,
                                                 size_t chunk) {
  auto source = [text = std::string(text), position = size_t{0}, chunk](
                    char* data, size_t size) mutable -> absl::StatusOr<size_t> {
    const size_t n = text.copy(data, std::min(size, chunk), position);
    position += n;
    return n;
  };
  return std::make_unique<LineReader>(std::move(source), std::move(name));
}

LineReader::LineReader(ByteSource source, std::string name)
    : source_(std::move(source)), name_(std::move(name)), buffer_(kBufferBytes) {}

absl::StatusOr<absl::string_view> LineReader::Next() {
  size_t searched = 0;
  bool too_long = false;
  while (true) {
    const char* const begin = buffer_.data() + begin_;
    const size_t available = end_ - begin_;
    const void* newline =
        available > searched ? std::memchr(begin + searched, '\n', available - searched) : nullptr;
    if (newline != nullptr || (at_end_ && (available > 0 || too_long))) {
      ++line_number_;
      absl::string_view line =
          Take(newline != nullptr ? static_cast<const char*>(newline) - begin + 1 : available);
      if (newline != nullptr) line.remove_suffix(1);
      if (too_long || line.size() > kMaxLineBytes) {
        return absl::ResourceExhaustedError(
            absl::StrCat("line is longer than ", kMaxLineBytes, " bytes"));
      }
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      if (line_number_ == 1 && absl::StartsWith(line, kByteOrderMark)) {
        line.remove_prefix(kByteOrderMark.size());
      }
      return line;
    }
    if (at_end_) return absl::OutOfRangeError("end of file");
    if (available > kMaxLineBytes) {
      too_long = true;  // drop what is there and go on to the line's end
      Take(available);
      searched = 0;
    } else {
      searched = available;
    }
    FACTORD_ASSIGN_OR_RETURN(const bool more, Fill());
    at_end_ = !more;
  }
}

absl::StatusOr<bool> LineReader::Fill() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  FACTORD_ASSIGN_OR_RETURN(const size_t n, source_(buffer_.data() + end_, buffer_.size() - end_));
  end_ += n;
  return n > 0;
}

absl::string_view LineReader::Take(size_t size) {
  const absl::string_view taken(buffer_.data() + begin_, size);
  begin_ += size;
  bytes_read_ += static_cast<int64_t>(size);
  return taken;
}

}  // namespace factord
