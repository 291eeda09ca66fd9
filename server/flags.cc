#include "server/flags.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "model/user_table.h"
#include "server/byte_size.h"
#include "server/certificates.h"
#include "server/flag_help.h"
#include "server/open_engine.h"
#include "server/snapshot_log.h"
#include "server/tokens.h"
#include "storage/file_util.h"
#include "storage/store.h"

using factord::ByteSize;

ABSL_FLAG(std::string, flagfile, "",
          "File with a flag a line, name=value; lines that begin with # are comments. Flags of the "
          "environment and of "
          "the command line win over it.");

// Where to serve.
ABSL_FLAG(std::string, listen, "127.0.0.1:7070",
          "Address and port of the API. Port 0 lets the system choose; see --port_file. An address "
          "that others can reach needs TLS, or --allow_plaintext; and --token_file or "
          "--tls_client_ca_file, or --allow_anonymous.");
ABSL_FLAG(
    std::string, health_listen, "",
    "Address and port that speak the gRPC health protocol in plain text, and nothing else: for "
    "probes that cannot speak TLS. Empty: none.");
ABSL_FLAG(std::string, metrics_listen, "",
          "Address (IPv4) and port that answer HTTP GET /metrics for Prometheus, and nothing else. "
          "Empty: none.");
ABSL_FLAG(
    std::string, port_file, "",
    "File that receives the port of the API, written in one step once all ports are open; then "
    "the lines \"health PORT\" and \"metrics PORT\" where there are such.");
ABSL_FLAG(bool, reflection, true,
          "Tell the API's services and messages to clients that ask (gRPC reflection).");

// Security.
ABSL_FLAG(
    std::string, tls_cert_file, "",
    "PEM file with the server's certificate, then intermediate ones. With --tls_key_file: the "
    "API speaks TLS only.");
ABSL_FLAG(std::string, tls_key_file, "", "PEM file with the certificate's private key.");
ABSL_FLAG(std::string, tls_client_ca_file, "",
          "PEM file with the authorities from which clients must have a certificate (mutual TLS). "
          "Empty: clients need none.");
ABSL_FLAG(std::string, token_file, "",
          "File with a bearer token a line: NAME SCOPES TOKEN. Calls must carry one whose scopes "
          "(read, write, admin) allow them. Empty: none is asked for.");
ABSL_FLAG(absl::Duration, reload_interval, absl::Seconds(10),
          "How often certificates and tokens are read again; SIGHUP has it done at once.");
ABSL_FLAG(bool, allow_plaintext, false,
          "Serve an address that others can reach without TLS, tokens included. For networks that "
          "encrypt by themselves.");
ABSL_FLAG(bool, allow_anonymous, false,
          "Serve an address that others can reach without asking who they are: all of the API, "
          "backups included, is open to them.");

// Limits.
ABSL_FLAG(int64_t, max_connections, 20'000,
          "Connections at once; more are closed as they come. Fewer if the limit of open files is "
          "lower.");
ABSL_FLAG(int32_t, max_calls_per_connection, 100,
          "Calls at once on one connection; a client holds more back.");
ABSL_FLAG(int32_t, max_concurrent_calls, 10'000,
          "Calls at once, from their headers on; more are refused (RESOURCE_EXHAUSTED). Once there "
          "were more, so many of RecordRatings, RecommendItems and PredictRatings are refused that "
          "the others are answered soon, until fewer come.");
ABSL_FLAG(int32_t, max_streams, 1'000,
          "StreamRatings calls at once; more are refused (RESOURCE_EXHAUSTED).");
ABSL_FLAG(
    absl::Duration, max_call_time, absl::Minutes(1),
    "A read or a RecordRatings that takes longer is cancelled; so are a call whose request does "
    "not come or whose answer is not read for so long, and a stream whose acknowledgements are "
    "not.");
ABSL_FLAG(
    ByteSize, max_unread_answer_bytes, ByteSize{256 << 20},
    "Answers that are made and not sent yet, mostly since clients do not read. Beyond half of it, "
    "those that have waited longest, and a second at least, are cancelled; beyond it, calls are "
    "refused (RESOURCE_EXHAUSTED).");
ABSL_FLAG(ByteSize, max_message_bytes, ByteSize{16 << 20}, "Largest request message.");
ABSL_FLAG(ByteSize, network_memory_bytes, ByteSize{256 << 20},
          "Memory for what was received and is not handled yet. Beyond, the server reads more "
          "slowly, and where headers that do not end take it, their connections are closed.");
ABSL_FLAG(double, client_calls_per_second, 0,
          "Calls of one client, known by its token, certificate or address; more are refused "
          "(RESOURCE_EXHAUSTED). 0: no limit.");
ABSL_FLAG(double, client_events_per_second, 0,
          "Events of one client: requests are refused (RESOURCE_EXHAUSTED), streams are read more "
          "slowly. 0: no limit.");
ABSL_FLAG(int32_t, stream_window_events, 65'536,
          "Events of a StreamRatings call that may be sent and not yet acknowledged.");
ABSL_FLAG(int64_t, max_queued_events, 1'000'000,
          "Events that may wait for the writer; more are refused (RESOURCE_EXHAUSTED).");
ABSL_FLAG(ByteSize, max_queued_bytes, ByteSize{256 << 20},
          "Their bytes, with some 256 an event; more are refused (RESOURCE_EXHAUSTED).");
ABSL_FLAG(int64_t, max_users, 0,
          "Users of the model: an event that would make one more is refused (RESOURCE_EXHAUSTED), "
          "those of known users go on. 0: no limit.");
ABSL_FLAG(int64_t, max_items, 0, "Items of the model, likewise. 0: no limit.");
ABSL_FLAG(
    ByteSize, memory_limit, ByteSize{0},
    "Memory of the model's state (factord_memory_bytes): beyond it new users and items are "
    "refused (RESOURCE_EXHAUSTED), known ones go on and still take a little. How much to give "
    "it of the machine's memory: Sizing in docs/operations.md. 0: no limit.");
ABSL_FLAG(
    int64_t, max_producers, 100'000,
    "Producers of StreamRatings, whose last numbers are remembered for good: a new one beyond "
    "is refused (RESOURCE_EXHAUSTED), known ones go on. Streams that have sent nothing yet do not "
    "count. 0: no limit.");
ABSL_FLAG(absl::Duration, max_sequence_wait, absl::Seconds(1),
          "How long a read waits for its min_sequence to become visible, at the most.");

// Connections.
ABSL_FLAG(absl::Duration, keepalive_time, absl::Seconds(30),
          "A connection that is quiet for so long is asked whether it is alive. 0: never.");
ABSL_FLAG(absl::Duration, keepalive_timeout, absl::Seconds(10),
          "How long it has to answer before it is closed.");
ABSL_FLAG(absl::Duration, min_client_ping_interval, absl::Seconds(10),
          "Clients that ask the server more often whether it is alive are sent away.");
ABSL_FLAG(absl::Duration, max_connection_idle, absl::Minutes(30),
          "Connections without a call for so long are closed. 0: never.");
ABSL_FLAG(
    absl::Duration, max_connection_age, absl::ZeroDuration(),
    "Connections this old are closed once their calls have ended, so that clients spread anew. "
    "0: never.");
ABSL_FLAG(absl::Duration, max_connection_age_grace, absl::Seconds(30),
          "How long the calls of a connection that is too old may go on.");

// Life.
ABSL_FLAG(
    absl::Duration, drain_timeout, absl::Seconds(30),
    "How long the server may take to stop. Running calls have half of it; the final snapshot "
    "has the rest. Afterwards the process ends with exit code 5; nothing acknowledged is lost.");
ABSL_FLAG(std::string, log_level, "info", "debug, info, warning, error or off.");
ABSL_FLAG(std::string, log_format, "text", "text, or json: one object a line.");

// The data folder.
ABSL_FLAG(std::string, data_dir, "",
          "The data folder; created if it does not exist, in a folder that does. Required.");
ABSL_FLAG(
    std::string, durability, "sync",
    "sync: an event is acknowledged after fsync and survives a power loss. async: after write; it "
    "survives a crash of the process, and a power loss may take the newest events.");
ABSL_FLAG(std::string, log_retention, "snapshot",
          "snapshot: the log is trimmed below each snapshot. all: it is kept; if it was so from "
          "the first "
          "event on, the folder can be replayed from empty and verified.");
ABSL_FLAG(absl::Duration, snapshot_interval, absl::Minutes(5),
          "Time between snapshots. 0: none for this reason.");
ABSL_FLAG(ByteSize, snapshot_log_bytes, ByteSize{256 << 20},
          "Bytes of events after which a snapshot is taken. 0: none for this reason.");
ABSL_FLAG(
    ByteSize, snapshot_bytes_per_second, ByteSize{100 << 20},
    "Rate at which a snapshot is written, at the most, so that it does not hold up the log. The "
    "last one, when the server stops, has no limit. 0: no limit.");
ABSL_FLAG(ByteSize, min_free_bytes, ByteSize{256 << 20},
          "Free disk space below which events are refused (FAILED_PRECONDITION).");
ABSL_FLAG(
    std::string, backup_dir, "",
    "Folder below which AdminService.Backup makes its copies, outside of the data folder; made "
    "when first needed. Empty: backups are refused.");

// The model: fixed when the folder is created. Without a value, an existing folder keeps its own; a
// value that differs from the folder's is refused at start.
ABSL_FLAG(std::optional<int32_t>, rank, std::nullopt, "Number of factors. New folder: 32.");
ABSL_FLAG(std::optional<int64_t>, seed, std::nullopt,
          "Seed of the rows' start values. New folder: 1.");
ABSL_FLAG(std::optional<float>, min_rating, std::nullopt,
          "Smallest rating, at least 0. New folder: 0.");
ABSL_FLAG(std::optional<float>, max_rating, std::nullopt, "Largest rating. New folder: 5.");
ABSL_FLAG(
    std::optional<std::string>, variant, std::nullopt,
    "adaptive; or pa, pa-1, pa-2: the pure passive-aggressive updates. New folder: adaptive.");
ABSL_FLAG(std::optional<std::string>, solver, std::nullopt,
          "Of the pure updates: exact, bisection or approximate. New folder: approximate.");
ABSL_FLAG(std::optional<float>, aggressiveness, std::nullopt,
          "The constant C of pa-1 and pa-2. New folder: 0.02.");
ABSL_FLAG(std::optional<float>, epsilon, std::nullopt,
          "Of the pure updates: error that changes nothing, in rating units. New folder: 0.");
ABSL_FLAG(std::optional<float>, bisection_tolerance, std::nullopt,
          "Relative tolerance of bisection. New folder: 0.001.");
ABSL_FLAG(std::optional<float>, offset, std::nullopt,
          "Of the adaptive update: where factors start. Smaller ones give clearer topics and less "
          "accurate predictions. New folder: 0.4.");
ABSL_FLAG(std::optional<float>, attraction, std::nullopt,
          "Of the adaptive update: how much a user and an item that meet are drawn together, 0 to "
          "1; 0 where users do not choose what they rate. New folder: 0.1.");
ABSL_FLAG(std::optional<int32_t>, replay, std::nullopt,
          "Of the adaptive update: how many ratings of the histories are learned once more beside "
          "each event, 0 to 16: predicts better, learns slower. New folder: 0.");
ABSL_FLAG(
    std::optional<std::string>, event_types, std::nullopt,
    "What events there are beside ratings, as NAME[:VALUE[:WEIGHT]],...: "
    "view:0.5:0.2,click,purchase:2. VALUE: by how much the item shall score above others; "
    "WEIGHT: scales the learning step; a rating has 1 and 1, and so should the commonest type. "
    "Popularity counts every event once. New folder: none.");
ABSL_FLAG(std::optional<float>, initial_rating, std::nullopt,
          "What a new user and a new item predict. New folder: 0.7 of --max_rating.");
ABSL_FLAG(std::optional<int64_t>, dedupe_window, std::nullopt,
          "How many sequences back event ids are remembered. New folder: 1000000.");

namespace factord {
namespace {

constexpr int64_t kMinMessageBytes = 64 << 10;

using Mistakes = std::vector<std::string>;

// Every flag is in one of them; flags_test.cc checks it.
const std::vector<FlagSection>& Sections() {
  static const auto* const sections = new std::vector<FlagSection>{
      {"Sources",
       "Where flags come from, beside the command line and the environment.",
       {"flagfile"}},
      {"Data folder",
       "",
       {"data_dir", "durability", "log_retention", "snapshot_interval", "snapshot_log_bytes",
        "snapshot_bytes_per_second", "min_free_bytes", "backup_dir"}},
      {"Model",
       "Fixed when the folder is created. Without a value, an existing folder keeps its own; a "
       "value "
       "that differs from the folder's is refused at start.",
       {"rank", "seed", "min_rating", "max_rating", "variant", "solver", "aggressiveness",
        "epsilon", "bisection_tolerance", "offset", "attraction", "replay", "event_types",
        "initial_rating", "dedupe_window"}},
      {"Ports", "", {"listen", "health_listen", "metrics_listen", "port_file", "reflection"}},
      {"Security",
       "",
       {"tls_cert_file", "tls_key_file", "tls_client_ca_file", "token_file", "reload_interval",
        "allow_plaintext", "allow_anonymous"}},
      {"Limits",
       "",
       {"max_connections", "max_calls_per_connection", "max_concurrent_calls", "max_streams",
        "max_call_time", "max_unread_answer_bytes", "max_message_bytes", "network_memory_bytes",
        "client_calls_per_second", "client_events_per_second", "stream_window_events",
        "max_queued_events", "max_queued_bytes", "max_users", "max_items", "memory_limit",
        "max_producers", "max_sequence_wait"}},
      {"Connections",
       "",
       {"keepalive_time", "keepalive_timeout", "min_client_ping_interval", "max_connection_idle",
        "max_connection_age", "max_connection_age_grace"}},
      {"Life and log", "", {"drain_timeout", "log_level", "log_format"}}};
  return *sections;
}

FlagsByName OurFlags() {
  FlagsByName flags;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (absl::StrContains(flag->Filename(), "server/flags.cc")) {
      flags.emplace(std::string(name), flag);
    }
  }
  return flags;
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

// Units a second, 0 for no limit.
double Rate(absl::string_view flag, double value, Mistakes* mistakes) {
  if (!std::isfinite(value) || value < 0) {
    mistakes->push_back(absl::StrCat("--", flag, ": must be a number of at least 0, is ", value));
  }
  return value;
}

// A limit of rows, 0 for none; there can be no more than the tables hold.
int64_t RowLimit(absl::string_view flag, int64_t value, Mistakes* mistakes) {
  if (value < 0 || value > int64_t{UserTable::kMaxRows}) {
    mistakes->push_back(
        absl::StrCat("--", flag, ": must be 0 to ", UserTable::kMaxRows, ", is ", value));
  }
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

int64_t Bytes(absl::string_view flag, int64_t min, int64_t max, ByteSize value,
              Mistakes* mistakes) {
  if (value.bytes < min || value.bytes > max) {
    mistakes->push_back(absl::StrCat("--", flag, ": must be ", AbslUnparseFlag(ByteSize{min}),
                                     " to ", AbslUnparseFlag(ByteSize{max})));
  }
  return value.bytes;
}

// An empty address is no mistake: nothing listens there. IPv6 is one for the metrics port: civetweb
// is built without it.
void CheckAddress(absl::string_view flag, const std::string& address, Mistakes* mistakes) {
  if (address.empty() && flag != "listen") return;
  const absl::StatusOr<HostPort> parsed = ParseHostPort(address);
  if (!parsed.ok()) {
    mistakes->push_back(absl::StrCat("--", flag, ": ", parsed.status().message()));
  } else if (flag == "metrics_listen" && absl::StrContains(parsed->host, ":")) {
    mistakes->push_back(absl::StrCat("--", flag,
                                     ": must be an IPv4 address or a name that has one, is \"",
                                     address, "\": this port does not speak IPv6"));
  }
}

// By their names alone: links are not followed.
bool IsOrLiesIn(const std::string& path, const std::string& folder) {
  // A last "/" would be one more, empty, part.
  const auto parts = [](const std::string& name) {
    std::error_code ignored;
    return (std::filesystem::absolute(name, ignored) / "").lexically_normal().parent_path();
  };
  const std::filesystem::path inner = parts(path), outer = parts(folder);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
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
  options.snapshot_log_bytes = absl::GetFlag(FLAGS_snapshot_log_bytes).bytes;
  options.snapshot_bytes_per_second = absl::GetFlag(FLAGS_snapshot_bytes_per_second).bytes;
  options.min_free_bytes = absl::GetFlag(FLAGS_min_free_bytes).bytes;
  options.max_queued_events =
      AtLeast<int64_t>("max_queued_events", 1, absl::GetFlag(FLAGS_max_queued_events), mistakes);
  options.max_queued_bytes = Bytes("max_queued_bytes", 1, std::numeric_limits<int64_t>::max(),
                                   absl::GetFlag(FLAGS_max_queued_bytes), mistakes);
  options.max_users = RowLimit("max_users", absl::GetFlag(FLAGS_max_users), mistakes);
  options.max_items = RowLimit("max_items", absl::GetFlag(FLAGS_max_items), mistakes);
  options.memory_limit = absl::GetFlag(FLAGS_memory_limit).bytes;
  options.max_producers =
      AtLeast<int64_t>("max_producers", 0, absl::GetFlag(FLAGS_max_producers), mistakes);
  options.backup_dir = absl::GetFlag(FLAGS_backup_dir);
  if (!options.backup_dir.empty() && !options.data_dir.empty() &&
      IsOrLiesIn(options.backup_dir, options.data_dir)) {
    mistakes->push_back("--backup_dir: must not lie in --data_dir, which the server clears up");
  }
  return options;
}

ModelOverrides ToModelOverrides(Mistakes* mistakes) {
  ModelOverrides overrides;
  overrides.rank = absl::GetFlag(FLAGS_rank);
  overrides.seed = absl::GetFlag(FLAGS_seed);
  overrides.min_rating = absl::GetFlag(FLAGS_min_rating);
  overrides.max_rating = absl::GetFlag(FLAGS_max_rating);
  if (const auto name = absl::GetFlag(FLAGS_variant)) {
    overrides.variant = Choose<Variant>("variant", *name,
                                        {{"adaptive", Variant::kAdaptive},
                                         {"pa", Variant::kPa},
                                         {"pa-1", Variant::kPaI},
                                         {"pa-2", Variant::kPaII}},
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
  overrides.offset = absl::GetFlag(FLAGS_offset);
  overrides.attraction = absl::GetFlag(FLAGS_attraction);
  overrides.replay = absl::GetFlag(FLAGS_replay);
  if (const auto text = absl::GetFlag(FLAGS_event_types)) {
    const absl::StatusOr<std::vector<EventType>> types = EventTypesFromText(*text);
    if (types.ok()) {
      overrides.event_types = *types;
    } else {
      mistakes->push_back(absl::StrCat("--event_types: ", types.status().message()));
    }
  }
  overrides.initial_rating = absl::GetFlag(FLAGS_initial_rating);
  overrides.dedupe_window = absl::GetFlag(FLAGS_dedupe_window);
  return overrides;
}

TlsFiles ToTlsFiles(Mistakes* mistakes) {
  TlsFiles files;
  files.cert_file = absl::GetFlag(FLAGS_tls_cert_file);
  files.key_file = absl::GetFlag(FLAGS_tls_key_file);
  files.client_ca_file = absl::GetFlag(FLAGS_tls_client_ca_file);
  if (files.cert_file.empty() != files.key_file.empty()) {
    mistakes->push_back("--tls_cert_file and --tls_key_file: give both or none");
  }
  if (files.cert_file.empty() && !files.client_ca_file.empty()) {
    mistakes->push_back("--tls_client_ca_file: needs --tls_cert_file and --tls_key_file");
  }
  return files;
}

// What others can reach must be in the clear, and open to all, only where somebody wants it to be.
void CheckExposure(const ServerOptions& options, Mistakes* mistakes) {
  const absl::StatusOr<HostPort> address = ParseHostPort(options.listen);
  if (!address.ok() || address->is_loopback()) return;
  const std::string exposed = absl::StrCat("--listen: others can reach ", address->host, ": give ");
  if (!options.tls.is_on() && !absl::GetFlag(FLAGS_allow_plaintext)) {
    mistakes->push_back(
        absl::StrCat(exposed,
                     "--tls_cert_file and --tls_key_file, or --allow_plaintext if the network may "
                     "see ratings and tokens"));
  }
  if (options.token_file.empty() && options.tls.client_ca_file.empty() &&
      !absl::GetFlag(FLAGS_allow_anonymous)) {
    mistakes->push_back(
        absl::StrCat(exposed,
                     "--token_file or --tls_client_ca_file, or --allow_anonymous if everybody "
                     "there may read, write and make backups"));
  }
}

// Reads what the server reads when it starts, and looks where it writes, so that all mistakes are
// told together.
void CheckFiles(const ServerOptions& options, Mistakes* mistakes) {
  const auto add = [mistakes](const char* flags, const absl::Status& status) {
    if (!status.ok()) mistakes->push_back(absl::StrCat(flags, ": ", status.message()));
  };
  if (!options.tls.cert_file.empty() && !options.tls.key_file.empty()) {
    add("--tls_cert_file, --tls_key_file, --tls_client_ca_file",
        ReadCertificates(options.tls).status());
  }
  if (!options.token_file.empty()) add("--token_file", ReadTokens(options.token_file).status());
  if (const std::string folder = ParentFolder(options.port_file);
      !options.port_file.empty() && !PathExists(folder)) {
    add("--port_file", absl::NotFoundError(absl::StrCat(folder, " does not exist")));
  }
}

NetworkOptions ToNetworkOptions(Mistakes* mistakes) {
  NetworkOptions options;
  options.max_connections =
      AtLeast<int64_t>("max_connections", 1, absl::GetFlag(FLAGS_max_connections), mistakes);
  options.max_calls_per_connection = AtLeast<int32_t>(
      "max_calls_per_connection", 1, absl::GetFlag(FLAGS_max_calls_per_connection), mistakes);
  options.max_message_bytes =
      static_cast<int32_t>(Bytes("max_message_bytes", kMinMessageBytes, int64_t{1} << 30,
                                 absl::GetFlag(FLAGS_max_message_bytes), mistakes));
  options.memory_bytes =
      Bytes("network_memory_bytes", int64_t{16} << 20, std::numeric_limits<int64_t>::max(),
            absl::GetFlag(FLAGS_network_memory_bytes), mistakes);
  const auto time = [mistakes](absl::string_view flag, absl::Duration min, absl::Duration value) {
    return Milliseconds(flag, min, value, mistakes);
  };
  const absl::Duration zero = absl::ZeroDuration(), millisecond = absl::Milliseconds(1);
  options.keepalive_time = time("keepalive_time", zero, absl::GetFlag(FLAGS_keepalive_time));
  options.keepalive_timeout =
      time("keepalive_timeout", millisecond, absl::GetFlag(FLAGS_keepalive_timeout));
  options.min_client_ping_interval =
      time("min_client_ping_interval", zero, absl::GetFlag(FLAGS_min_client_ping_interval));
  options.max_connection_idle =
      time("max_connection_idle", zero, absl::GetFlag(FLAGS_max_connection_idle));
  options.max_connection_age =
      time("max_connection_age", zero, absl::GetFlag(FLAGS_max_connection_age));
  options.max_connection_age_grace =
      time("max_connection_age_grace", millisecond, absl::GetFlag(FLAGS_max_connection_age_grace));
  return options;
}

CallGate::Options ToCallOptions(Mistakes* mistakes) {
  CallGate::Options options;
  options.max_concurrent_calls = AtLeast<int32_t>(
      "max_concurrent_calls", 1, absl::GetFlag(FLAGS_max_concurrent_calls), mistakes);
  options.max_streams =
      AtLeast<int32_t>("max_streams", 1, absl::GetFlag(FLAGS_max_streams), mistakes);
  options.max_call_time = Milliseconds("max_call_time", absl::Milliseconds(1),
                                       absl::GetFlag(FLAGS_max_call_time), mistakes);
  options.max_unread_answer_bytes =
      Bytes("max_unread_answer_bytes", int64_t{16} << 20, std::numeric_limits<int64_t>::max(),
            absl::GetFlag(FLAGS_max_unread_answer_bytes), mistakes);
  options.client_calls_per_second =
      Rate("client_calls_per_second", absl::GetFlag(FLAGS_client_calls_per_second), mistakes);
  options.client_events_per_second =
      Rate("client_events_per_second", absl::GetFlag(FLAGS_client_events_per_second), mistakes);
  return options;
}

ServerOptions ToServerOptions(Mistakes* mistakes) {
  ServerOptions options;
  options.listen = absl::GetFlag(FLAGS_listen);
  options.health_listen = absl::GetFlag(FLAGS_health_listen);
  options.metrics_listen = absl::GetFlag(FLAGS_metrics_listen);
  CheckAddress("listen", options.listen, mistakes);
  CheckAddress("health_listen", options.health_listen, mistakes);
  CheckAddress("metrics_listen", options.metrics_listen, mistakes);
  options.port_file = absl::GetFlag(FLAGS_port_file);
  options.reflection = absl::GetFlag(FLAGS_reflection);
  options.tls = ToTlsFiles(mistakes);
  options.token_file = absl::GetFlag(FLAGS_token_file);
  options.reload_interval = Milliseconds("reload_interval", absl::Milliseconds(1),
                                         absl::GetFlag(FLAGS_reload_interval), mistakes);
  CheckFiles(options, mistakes);
  CheckExposure(options, mistakes);
  options.network = ToNetworkOptions(mistakes);
  options.calls = ToCallOptions(mistakes);
  options.max_sequence_wait = Milliseconds("max_sequence_wait", absl::ZeroDuration(),
                                           absl::GetFlag(FLAGS_max_sequence_wait), mistakes);
  options.stream_window_events =
      AtLeast<int32_t>("stream_window_events", options.limits.max_events_per_request,
                       absl::GetFlag(FLAGS_stream_window_events), mistakes);
  options.drain_timeout = Milliseconds("drain_timeout", absl::Milliseconds(1),
                                       absl::GetFlag(FLAGS_drain_timeout), mistakes);
  return options;
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments,
                                             const Environment& environment) {
  CommandLine line;
  FlagSources sources = SetFlags(OurFlags(), arguments, environment);
  if (sources.help) line.text = sources.help_markdown ? HelpMarkdown() : HelpText();
  if (sources.version) line.text = "factord " FACTORD_VERSION "\n";
  if (!line.text.empty()) return line;

  Mistakes mistakes = std::move(sources.mistakes);
  line.unknown_variables = std::move(sources.unknown_variables);
  EngineOptions engine = ToEngineOptions(&mistakes);
  engine.recovery_progress = std::make_shared<RecoveryProgress>();
  engine.on_snapshot = LogSnapshot;
  const ModelOverrides overrides = ToModelOverrides(&mistakes);
  line.server = ToServerOptions(&mistakes);
  line.server.recovery_progress = engine.recovery_progress;
  line.server.engine_limits = {engine.max_queued_events, engine.max_queued_bytes,
                               engine.max_users,         engine.max_items,
                               engine.memory_limit,      engine.min_free_bytes};
  line.data_dir = engine.data_dir;
  line.log_level = Choose<log::Level>("log_level", absl::GetFlag(FLAGS_log_level),
                                      {{"info", log::Level::kInfo},
                                       {"debug", log::Level::kDebug},
                                       {"warning", log::Level::kWarning},
                                       {"error", log::Level::kError},
                                       {"off", log::Level::kOff}},
                                      &mistakes);
  line.log_format =
      Choose<log::Format>("log_format", absl::GetFlag(FLAGS_log_format),
                          {{"text", log::Format::kText}, {"json", log::Format::kJson}}, &mistakes);
  // An existing folder has the rest of its configuration in it: its combination is checked when it
  // is opened.
  if (engine.data_dir.empty() || !Store::Exists(engine.data_dir)) {
    const absl::Status status = overrides.ForNewFolder().Validate();
    if (!status.ok()) mistakes.push_back(std::string(status.message()));
  }
  if (!mistakes.empty()) {
    // No mistake by itself, but it may be the cause of one.
    for (const std::string& name : line.unknown_variables) {
      mistakes.push_back(absl::StrCat(name, " in the environment is no flag"));
    }
    return absl::InvalidArgumentError(absl::StrJoin(mistakes, "\n"));
  }
  line.server.open_engine = [engine, overrides] { return OpenEngine(engine, overrides); };
  return line;
}

std::string HelpText() { return PlainHelp(Sections(), OurFlags()); }
std::string HelpMarkdown() { return MarkdownHelp(Sections(), OurFlags()); }

}  // namespace factord
