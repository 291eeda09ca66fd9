#include "server/log.h"

#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>
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

void WriteForGrpc(gpr_log_func_args* args) {
  Write(args->severity == GPR_LOG_SEVERITY_ERROR ? Level::kWarning : Level::kDebug, "grpc",
        {{"detail", args->message}, {"file", args->file}, {"line", args->line}});
}

}  // namespace

void Start(Level level, Format format) {
  current_format = format;
  Logger().set_pattern(format == Format::kJson ? kJsonPattern : kTextPattern,
                       spdlog::pattern_time_type::utc);
  Logger().set_level(ToSpdlog(level));
  gpr_set_log_verbosity(level <= Level::kDebug ? GPR_LOG_SEVERITY_INFO : GPR_LOG_SEVERITY_ERROR);
  gpr_set_log_function(WriteForGrpc);
}

bool IsOn(Level level) { return Logger().should_log(ToSpdlog(level)); }

void Debug(const char* message, Fields fields) { Write(Level::kDebug, message, fields); }
void Info(const char* message, Fields fields) { Write(Level::kInfo, message, fields); }
void Warning(const char* message, Fields fields) { Write(Level::kWarning, message, fields); }
void Error(const char* message, Fields fields) { Write(Level::kError, message, fields); }

}  // namespace factord::log
