// Any bytes at all as configuration: a flag file, a command line, an environment or a token file;
// the first byte says which. It is taken, or refused with the reasons.
#include <absl/flags/reflection.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/temp_folder.h"
#include "server/flags.h"
#include "server/tokens.h"

namespace factord {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

std::string FileWith(absl::string_view content) {
  static const auto* const folder = new TempFolder(TempFolder::Place::kMemory);
  return folder->Write("file", content);
}

void CheckRefusal(const absl::Status& status) {
  Check(absl::IsInvalidArgument(status) && !status.message().empty());
}

void TryCommandLine(const std::vector<std::string>& arguments, const Environment& environment) {
  const absl::FlagSaver saver;
  const absl::StatusOr<CommandLine> line = ParseCommandLine(arguments, environment);
  if (!line.ok()) return CheckRefusal(line.status());
  if (!line->text.empty()) return;
  Check(!line->data_dir.empty() && line->server.open_engine != nullptr);
  const CallGate::Options& calls = line->server.calls;
  for (const double rate : {calls.client_calls_per_second, calls.client_events_per_second}) {
    Check(std::isfinite(rate) && rate >= 0);
  }
  Check(calls.max_concurrent_calls > 0 && calls.max_streams > 0);
  Check(line->server.network.max_connections > 0 && line->server.network.memory_bytes > 0);
}

void TryFlagFile(absl::string_view text) {
  TryCommandLine({"--data_dir=/nowhere", absl::StrCat("--flagfile=", FileWith(text))}, {});
}

void TryArguments(absl::string_view text) { TryCommandLine(absl::StrSplit(text, '\n'), {}); }

void TryEnvironment(absl::string_view text) {
  Environment environment = {{"FACTORD_DATA_DIR", "/nowhere"}};
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::pair<std::string, std::string> variable =
        absl::StrSplit(line, absl::MaxSplits('=', 1));
    environment[absl::StrCat("FACTORD_", variable.first)] = variable.second;
  }
  TryCommandLine({}, environment);
}

void TryTokenFile(absl::string_view text) {
  const std::string path = FileWith(text);
  const absl::StatusOr<TokenTable> tokens = ReadTokens(path);
  if (tokens.ok()) return Check(tokens->size() > 0);
  CheckRefusal(tokens.status());
  const std::string message = absl::StrReplaceAll(tokens.status().message(), {{path, ""}});
  constexpr size_t kSecret = 16;
  for (const absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" \t\r\n"))) {
    Check(word.size() < kSecret || !absl::StrContains(message, word));
  }
}

}  // namespace
}  // namespace factord

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace factord;  // NOLINT: of one function
  constexpr void (*kSources[])(absl::string_view) = {TryFlagFile, TryArguments, TryEnvironment,
                                                     TryTokenFile};
  if (size == 0) return 0;
  const absl::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  kSources[data[0] % (sizeof(kSources) / sizeof(kSources[0]))](text);
  return 0;
}
