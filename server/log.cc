#include "server/log.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "absl/strings/str_cat.h"

namespace factord::log {
namespace {

constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";

std::atomic<Format> current_format{Format::kText};

spdlog::level::level_enum ToSpdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
    case Level::kOff:
      break;
  }
  return spdlog::level::off;
}

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = spdlog::stderr_logger_mt("factord");
    made->set_pattern(kTextPattern, spdlog::pattern_time_type::utc);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *logger;
}

// A value may hold bytes that are not UTF-8 (a path, say): they are replaced, not refused.
std::string Dump(const nlohmann::json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
}

// Bare where that cannot be misread.
std::string AsText(const nlohmann::json& value) {
  if (!value.is_string()) return Dump(value);
  const auto& text = value.get_ref<const std::string&>();
  const bool is_plain = !text.empty() && text.find_first_of(" \t\r\n\"=\\") == std::string::npos;
  return is_plain ? text : Dump(value);
}

void Write(Level level, const char* message, Fields fields) {
  if (!IsOn(level)) return;
  std::string line;
  if (current_format == Format::kJson) {
    line = absl::StrCat("\"message\":", Dump(message));
    for (const auto& [name, value] : fields)
      absl::StrAppend(&line, ",\"", name, "\":", Dump(value));
  } else {
    line = message;
    for (const auto& [name, value] : fields) absl::StrAppend(&line, " ", name, "=", AsText(value));
  }
  Logger().log(ToSpdlog(level), "{}", line);
}

// What a library has to say.
struct LibraryMessage {
  const char* library;
  bool is_error;
  const char* detail;
  const char* file;
  int line;
};

// Anybody who can connect can make them tell errors (a failed handshake, say, or a string that is
// not UTF-8), and must not fill the disk with them: some in a row, and then how many more there
// were.
void WriteForLibrary(const LibraryMessage& message) {
  using Clock = std::chrono::steady_clock;
  constexpr int kLinesAnInterval = 10;
  constexpr std::chrono::seconds kInterval(10);
  static std::mutex mu;
  static Clock::time_point interval_end;
  static int64_t lines = 0;

  int64_t left_out = 0;
  if (message.is_error) {
    std::lock_guard lock(mu);
    if (Clock::now() >= interval_end) {
      left_out = std::max<int64_t>(lines - kLinesAnInterval, 0);
      interval_end = Clock::now() + kInterval;
      lines = 0;
    }
    if (++lines > kLinesAnInterval) return;
  }
  Write(message.is_error ? Level::kWarning : Level::kDebug, message.library,
        {{"detail", message.detail},
         {"file", message.file},
         {"line", message.line},
         {"left_out_before", left_out}});
}

void WriteForGrpc(gpr_log_func_args* args) {
  WriteForLibrary(
      {"grpc", args->severity == GPR_LOG_SEVERITY_ERROR, args->message, args->file, args->line});
}

void WriteForProtobuf(google::protobuf::LogLevel level, const char* file, int line,
                      const std::string& message) {
  WriteForLibrary(
      {"protobuf", level >= google::protobuf::LOGLEVEL_ERROR, message.c_str(), file, line});
}

}  // namespace

void Start(Level level, Format format) {
  current_format = format;
  Logger().set_pattern(format == Format::kJson ? kJsonPattern : kTextPattern,
                       spdlog::pattern_time_type::utc);
  Logger().set_level(ToSpdlog(level));
  gpr_set_log_verbosity(level <= Level::kDebug ? GPR_LOG_SEVERITY_INFO : GPR_LOG_SEVERITY_ERROR);
  gpr_set_log_function(WriteForGrpc);
  google::protobuf::SetLogHandler(WriteForProtobuf);
}

bool IsOn(Level level) { return Logger().should_log(ToSpdlog(level)); }

void Debug(const char* message, Fields fields) { Write(Level::kDebug, message, fields); }
void Info(const char* message, Fields fields) { Write(Level::kInfo, message, fields); }
void Warning(const char* message, Fields fields) { Write(Level::kWarning, message, fields); }
void Error(const char* message, Fields fields) { Write(Level::kError, message, fields); }

bool Throttle::MayLog() {
  using Clock = std::chrono::steady_clock;
  constexpr Clock::duration kInterval = std::chrono::seconds(1);
  const int64_t now = Clock::now().time_since_epoch().count();
  int64_t next = next_.load(std::memory_order_relaxed);
  return now >= next && next_.compare_exchange_strong(next, now + kInterval.count());
}

}  // namespace factord::log
