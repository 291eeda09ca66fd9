// The server's log: one event a line, with named values, on standard error.
//
//   log::Info("recovered", {{"seconds", 1.25}, {"sequence", 1001}});
//
//   text  2026-11-25T10:58:00.123Z info recovered seconds=1.25 sequence=1001
//   json
//   {"time":"2026-11-25T10:58:00.123Z","level":"info","message":"recovered","seconds":1.25,...}
//
// A message is a constant, so that it can be searched for; what varies is in the values. A value
// never holds a secret, and holds a user's or item's id at debug level at most. docs/operations.md
// lists levels and fields.
//
// Thread-safe, but for Start. Before Start, lines go out as text at level info.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>

namespace factord::log {

enum class Format { kText, kJson };
enum class Level { kDebug, kInfo, kWarning, kError, kOff };

// A name in lower_case, and a number, string or boolean.
using Field = std::pair<const char*, nlohmann::json>;
using Fields = std::initializer_list<Field>;

// Also sends what gRPC and Protobuf have to say here: errors as warnings, the rest at debug level.
void Start(Level level, Format format);

// Whether a line of this level would be written: asked before values that cost something are made.
bool IsOn(Level level);

void Debug(const char* message, Fields fields = {});
void Info(const char* message, Fields fields = {});
void Warning(const char* message, Fields fields = {});
void Error(const char* message, Fields fields = {});

// Lets a line through once a second: what strangers can bring about must not fill the disk.
class Throttle {
 public:
  bool MayLog();

 private:
  std::atomic<int64_t> next_{0};  // of steady_clock
};

}  // namespace factord::log
