#include "server/flags.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "server/open_engine.h"
#include "storage/store.h"

// Where and how to serve.
ABSL_FLAG(std::string, listen, "127.0.0.1:7070",
          "Address and port to listen on. Port 0 lets the system choose; see --port_file.");
ABSL_FLAG(std::string, port_file, "",
          "File that receives the port, written in one step once the port is open.");
ABSL_FLAG(absl::Duration, max_sequence_wait, absl::Seconds(1),
          "How long a read waits for its min_sequence to become visible, at the most.");
ABSL_FLAG(int32_t, stream_window_events, 65'536,
          "Events of a StreamRatings call that may be sent and not yet acknowledged.");
ABSL_FLAG(int32_t, max_message_bytes, 16 << 20, "Largest request message, in bytes.");
ABSL_FLAG(
    absl::Duration, drain_timeout, absl::Seconds(30),
    "How long the server may take to stop. Running calls have half of it; the final snapshot "
    "has the rest. Afterwards the process ends with exit code 5; nothing acknowledged is lost.");
ABSL_FLAG(std::string, log_level, "info", "trace, debug, info, warning, error or off.");

// The data folder.
ABSL_FLAG(std::string, data_dir, "", "The data folder; created if it does not exist. Required.");
ABSL_FLAG(
    std::string, durability, "sync",
    "sync: an event is acknowledged after fsync and survives a power loss. async: after write; it "
    "survives a crash of the process, and a power loss may take the newest events.");
ABSL_FLAG(
    std::string, log_retention, "snapshot",
    "snapshot: the log is trimmed below each snapshot. all: it is kept, so that the folder can be "
    "replayed from empty and verified.");
ABSL_FLAG(absl::Duration, snapshot_interval, absl::Minutes(5),
          "Time between snapshots. 0: none for this reason.");
ABSL_FLAG(int64_t, snapshot_log_bytes, int64_t{256} << 20,
          "Bytes of events after which a snapshot is taken. 0: none for this reason.");
ABSL_FLAG(
    int64_t, snapshot_bytes_per_second, int64_t{100} << 20,
    "Rate at which a snapshot is written, at the most, so that it does not hold up the log. 0: no "
    "limit.");
ABSL_FLAG(int64_t, min_free_bytes, int64_t{256} << 20,
          "Free disk space below which events are refused (FAILED_PRECONDITION).");
ABSL_FLAG(int64_t, max_queued_events, 1'000'000,
          "Events that may wait for the writer; more are refused (RESOURCE_EXHAUSTED).");
ABSL_FLAG(std::string, backup_dir, "",
          "Folder below which AdminService.Backup makes its copies; made when first needed. Empty: "
          "backups are refused.");

// The model: fixed when the folder is created. Without a value, an existing folder keeps its own; a
// value that differs from the folder's is refused at start.
ABSL_FLAG(std::optional<int32_t>, rank, std::nullopt, "Model: number of factors. New folder: 32.");
ABSL_FLAG(std::optional<int64_t>, seed, std::nullopt,
          "Model: seed of the rows' start values. New folder: 1.");
ABSL_FLAG(std::optional<float>, min_rating, std::nullopt,
          "Model: smallest rating, at least 0. New folder: 0.");
ABSL_FLAG(std::optional<float>, max_rating, std::nullopt, "Model: largest rating. New folder: 5.");
ABSL_FLAG(std::optional<std::string>, variant, std::nullopt,
          "Model: pa, pa-1 or pa-2. New folder: pa-1.");
ABSL_FLAG(std::optional<std::string>, solver, std::nullopt,
          "Model: exact, bisection or approximate. New folder: approximate.");
ABSL_FLAG(std::optional<float>, aggressiveness, std::nullopt,
          "Model: the constant C of pa-1 and pa-2. New folder: 0.02.");
ABSL_FLAG(std::optional<float>, epsilon, std::nullopt,
          "Model: error that changes nothing, in rating units. New folder: 0.");
ABSL_FLAG(std::optional<float>, bisection_tolerance, std::nullopt,
          "Model: relative tolerance of bisection. New folder: 0.001.");
ABSL_FLAG(std::optional<float>, initial_rating, std::nullopt,
          "Model: what a new user and a new item predict. New folder: 0.7 of --max_rating.");
ABSL_FLAG(std::optional<int64_t>, dedupe_window, std::nullopt,
          "Model: how many sequences back event ids are remembered. New folder: 1000000.");

namespace factord {
namespace {

constexpr int kMinMessageBytes = 64 << 10;

using Mistakes = std::vector<std::string>;

std::map<std::string, absl::CommandLineFlag*> OurFlags() {
  std::map<std::string, absl::CommandLineFlag*> flags;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (absl::StrContains(flag->Filename(), "server/flags.cc")) {
      flags.emplace(std::string(name), flag);
    }
  }
  return flags;
}

// Sets the flags; what could not be set is a mistake.
void SetFlags(const std::vector<std::string>& arguments, CommandLine* line, Mistakes* mistakes) {
  const auto flags = OurFlags();
  for (size_t i = 0; i < arguments.size(); ++i) {
    absl::string_view argument = arguments[i];
    if (!absl::ConsumePrefix(&argument, "--")) {
      mistakes->push_back(absl::StrCat("unexpected argument: ", arguments[i]));
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string name(argument.substr(0, equals));
    if (name == "help" || name == "version") {
      (name == "help" ? line->help : line->version) = true;
      continue;
    }
    const auto flag = flags.find(name);
    if (flag == flags.end()) {
      mistakes->push_back(absl::StrCat("--", name, ": unknown flag"));
      continue;
    }
    std::string value;
    if (equals != absl::string_view::npos) {
      value = std::string(argument.substr(equals + 1));
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      mistakes->push_back(absl::StrCat("--", name, ": needs a value"));
      continue;
    }
    std::string error;
    if (!flag->second->ParseFrom(value, &error)) {
      mistakes->push_back(absl::StrCat("--", name, ": cannot be \"", value, "\""));
    }
  }
}

// The value that belongs to `text`, or a mistake.
template <typename T>
T Choose(absl::string_view flag, absl::string_view text,
         const std::vector<std::pair<const char*, T>>& choices, Mistakes* mistakes) {
  for (const auto& [name, value] : choices) {
    if (text == name) return value;
  }
  mistakes->push_back(absl::StrCat(
      "--", flag, ": must be ",
      absl::StrJoin(choices, " or ",
                    [](std::string* out, const auto& choice) { out->append(choice.first); }),
      ", is \"", text, "\""));
  return choices.front().second;
}

template <typename T>
T AtLeast(absl::string_view flag, T min, T value, Mistakes* mistakes) {
  if (value < min) mistakes->push_back(absl::StrCat("--", flag, ": must be at least ", min));
  return value;
}

std::chrono::milliseconds Milliseconds(absl::string_view flag, absl::Duration min,
                                       absl::Duration value, Mistakes* mistakes) {
  if (value < min || value > absl::Hours(24 * 365)) {
    mistakes->push_back(absl::StrCat("--", flag, ": must be ", absl::FormatDuration(min),
                                     " to a year, is ", absl::FormatDuration(value)));
    return {};
  }
  return absl::ToChronoMilliseconds(value);
}

void CheckListen(const std::string& listen, Mistakes* mistakes) {
  const size_t colon = listen.rfind(':');
  int32_t port = -1;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(listen.substr(colon + 1), &port) || port < 0 || port > 65'535) {
    mistakes->push_back(absl::StrCat("--listen: must be HOST:PORT, is \"", listen, "\""));
  }
}

EngineOptions ToEngineOptions(Mistakes* mistakes) {
  EngineOptions options;
  options.data_dir = absl::GetFlag(FLAGS_data_dir);
  if (options.data_dir.empty()) mistakes->push_back("--data_dir: must be given");
  options.durability =
      Choose<Durability>("durability", absl::GetFlag(FLAGS_durability),
                         {{"sync", Durability::kSync}, {"async", Durability::kAsync}}, mistakes);
  options.log_retention = Choose<LogRetention>(
      "log_retention", absl::GetFlag(FLAGS_log_retention),
      {{"snapshot", LogRetention::kSnapshot}, {"all", LogRetention::kAll}}, mistakes);
  options.snapshot_interval = Milliseconds("snapshot_interval", absl::ZeroDuration(),
                                           absl::GetFlag(FLAGS_snapshot_interval), mistakes);
  options.snapshot_log_bytes =
      AtLeast<int64_t>("snapshot_log_bytes", 0, absl::GetFlag(FLAGS_snapshot_log_bytes), mistakes);
  options.snapshot_bytes_per_second = AtLeast<int64_t>(
      "snapshot_bytes_per_second", 0, absl::GetFlag(FLAGS_snapshot_bytes_per_second), mistakes);
  options.min_free_bytes =
      AtLeast<int64_t>("min_free_bytes", 0, absl::GetFlag(FLAGS_min_free_bytes), mistakes);
  options.max_queued_events =
      AtLeast<int64_t>("max_queued_events", 1, absl::GetFlag(FLAGS_max_queued_events), mistakes);
  options.backup_dir = absl::GetFlag(FLAGS_backup_dir);
  return options;
}

ModelOverrides ToModelOverrides(Mistakes* mistakes) {
  ModelOverrides overrides;
  overrides.rank = absl::GetFlag(FLAGS_rank);
  overrides.seed = absl::GetFlag(FLAGS_seed);
  overrides.min_rating = absl::GetFlag(FLAGS_min_rating);
  overrides.max_rating = absl::GetFlag(FLAGS_max_rating);
  if (const auto name = absl::GetFlag(FLAGS_variant)) {
    overrides.variant = Choose<Variant>(
        "variant", *name, {{"pa", Variant::kPa}, {"pa-1", Variant::kPaI}, {"pa-2", Variant::kPaII}},
        mistakes);
  }
  if (const auto name = absl::GetFlag(FLAGS_solver)) {
    overrides.solver = Choose<Solver>("solver", *name,
                                      {{"exact", Solver::kExact},
                                       {"bisection", Solver::kBisection},
                                       {"approximate", Solver::kApproximate}},
                                      mistakes);
  }
  overrides.aggressiveness = absl::GetFlag(FLAGS_aggressiveness);
  overrides.epsilon = absl::GetFlag(FLAGS_epsilon);
  overrides.bisection_tolerance = absl::GetFlag(FLAGS_bisection_tolerance);
  overrides.initial_rating = absl::GetFlag(FLAGS_initial_rating);
  overrides.dedupe_window = absl::GetFlag(FLAGS_dedupe_window);
  return overrides;
}

ServerOptions ToServerOptions(Mistakes* mistakes) {
  ServerOptions options;
  options.listen = absl::GetFlag(FLAGS_listen);
  CheckListen(options.listen, mistakes);
  options.port_file = absl::GetFlag(FLAGS_port_file);
  options.max_sequence_wait = Milliseconds("max_sequence_wait", absl::ZeroDuration(),
                                           absl::GetFlag(FLAGS_max_sequence_wait), mistakes);
  options.stream_window_events =
      AtLeast<int32_t>("stream_window_events", options.limits.max_events_per_request,
                       absl::GetFlag(FLAGS_stream_window_events), mistakes);
  options.max_message_bytes = AtLeast<int32_t>("max_message_bytes", kMinMessageBytes,
                                               absl::GetFlag(FLAGS_max_message_bytes), mistakes);
  options.drain_timeout = Milliseconds("drain_timeout", absl::Milliseconds(1),
                                       absl::GetFlag(FLAGS_drain_timeout), mistakes);
  return options;
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments) {
  CommandLine line;
  Mistakes mistakes;
  SetFlags(arguments, &line, &mistakes);
  if (line.help || line.version) return line;

  const EngineOptions engine = ToEngineOptions(&mistakes);
  const ModelOverrides overrides = ToModelOverrides(&mistakes);
  line.server = ToServerOptions(&mistakes);
  line.data_dir = engine.data_dir;
  line.log_level = Choose<std::string>("log_level", absl::GetFlag(FLAGS_log_level),
                                       {{"info", "info"},
                                        {"trace", "trace"},
                                        {"debug", "debug"},
                                        {"warning", "warning"},
                                        {"error", "error"},
                                        {"off", "off"}},
                                       &mistakes);
  // An existing folder has the rest of its configuration in it: its combination is checked when it
  // is opened.
  if (!engine.data_dir.empty() && !Store::Exists(engine.data_dir)) {
    const absl::Status status = overrides.ForNewFolder().Validate();
    if (!status.ok()) mistakes.push_back(std::string(status.message()));
  }
  if (!mistakes.empty()) return absl::InvalidArgumentError(absl::StrJoin(mistakes, "\n"));
  line.server.open_engine = [engine, overrides] { return OpenEngine(engine, overrides); };
  return line;
}

std::string HelpText() {
  std::string text =
      "factord: an online recommendation service.\n\n"
      "  factord --data_dir=DIR [flags]\n\n";
  for (const auto& [name, flag] : OurFlags()) {
    absl::StrAppend(&text, "  --", name);
    if (!flag->DefaultValue().empty()) absl::StrAppend(&text, "=", flag->DefaultValue());
    absl::StrAppend(&text, "\n      ", flag->Help(), "\n");
  }
  return text;
}

}  // namespace factord
