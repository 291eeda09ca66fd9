#include "model/config.h"

#include <cmath>
#include <limits>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace factord {
namespace {

constexpr int64_t kMaxDedupeWindow = 100'000'000;
constexpr int32_t kMaxReplay = 16;
constexpr absl::string_view kUnknown = "unknown";

// Collects one line per broken rule. Comparisons are written so that NaN breaks them.
class Rules {
 public:
  void Require(bool kept, absl::string_view rule) {
    if (!kept) broken_.push_back(std::string(rule));
  }
  absl::Status Result() const {
    if (broken_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("bad model configuration: ", absl::StrJoin(broken_, "; ")));
  }

 private:
  std::vector<std::string> broken_;
};

bool Finite(float v) { return std::isfinite(v); }

// Reads fields by name, remembering every complaint, so that one answer names them all.
class FieldReader {
 public:
  explicit FieldReader(std::map<std::string, std::string> fields) : fields_(std::move(fields)) {}

  void Float(const std::string& name, float* value) {
    Take(name, [value](const std::string& text) { return absl::SimpleAtof(text, value); });
  }
  template <typename Int>
  void Integer(const std::string& name, Int* value) {
    Take(name, [value](const std::string& text) { return absl::SimpleAtoi(text, value); });
  }
  void EventTypes(const std::string& name, std::vector<EventType>* types) {
    Take(name, [types](const std::string& text) {
      const absl::StatusOr<std::vector<EventType>> parsed = EventTypesFromText(text);
      if (parsed.ok()) *types = *parsed;
      return parsed.ok();
    });
  }
  template <typename Choice>
  void Name(const std::string& name, absl::StatusOr<Choice> (*parse)(absl::string_view),
            Choice* value) {
    Take(name, [parse, value](const std::string& text) {
      const absl::StatusOr<Choice> choice = parse(text);
      if (choice.ok()) *value = *choice;
      return choice.ok();
    });
  }

  absl::Status Result() {
    for (const auto& [name, text] : fields_) {
      complaints_.push_back(absl::StrCat("unknown field ", name));
    }
    if (complaints_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("model configuration: ", absl::StrJoin(complaints_, "; ")));
  }

 private:
  template <typename Parse>
  void Take(const std::string& name, Parse parse) {
    const auto it = fields_.find(name);
    if (it == fields_.end()) {
      complaints_.push_back(absl::StrCat("missing field ", name));
      return;
    }
    if (!parse(it->second)) {
      complaints_.push_back(absl::StrCat("malformed field ", name, ": '", it->second, "'"));
    }
    fields_.erase(it);
  }

  std::map<std::string, std::string> fields_;
  std::vector<std::string> complaints_;
};

bool IsEventTypeName(absl::string_view name) {
  constexpr size_t kMaxBytes = 32;
  if (name.empty() || name.size() > kMaxBytes || !absl::ascii_islower(name[0])) return false;
  for (const char c : name) {
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '_' && c != '-') return false;
  }
  return true;
}

// Nine significant digits give every float back.
std::string FloatText(float v) { return absl::StrFormat("%.9g", v); }

}  // namespace

absl::Status ModelConfig::Validate() const {
  Rules rules;
  rules.Require(rank >= 1 && rank <= kMaxRank, "rank must be 1 to 1024");
  rules.Require(Finite(min_rating) && min_rating >= 0, "min_rating must be finite and >= 0");
  rules.Require(Finite(max_rating) && max_rating > min_rating,
                "max_rating must be finite and > min_rating");
  rules.Require(VariantName(variant) != kUnknown,
                "variant must be one of adaptive, pa, pa-1, pa-2");
  rules.Require(
      solver == Solver::kExact || solver == Solver::kBisection || solver == Solver::kApproximate,
      "solver must be one of exact, bisection, approximate");
  rules.Require(Finite(aggressiveness) && aggressiveness > 0,
                "aggressiveness must be finite and > 0");
  rules.Require(Finite(epsilon) && epsilon >= 0, "epsilon must be finite and >= 0");
  rules.Require(bisection_tolerance > 0 && bisection_tolerance < 1,
                "bisection_tolerance must be between 0 and 1, both excluded");
  rules.Require(offset > 0 && offset <= 10, "offset must be > 0 and <= 10");
  rules.Require(attraction >= 0 && attraction <= 1, "attraction must be 0 to 1");
  rules.Require(replay >= 0 && replay <= kMaxReplay,
                absl::StrCat("replay must be 0 to ", kMaxReplay));
  rules.Require(event_types.size() <= kMaxEventTypes,
                absl::StrCat("event_types must be at most ", kMaxEventTypes));
  absl::flat_hash_set<std::string> names;
  for (const EventType& type : event_types) {
    const std::string field = absl::StrCat("event_types '", type.name, "' ");
    rules.Require(IsEventTypeName(type.name),
                  absl::StrCat(field, "must be 1 to 32 of a-z, 0-9, '_', '-', a letter first"));
    rules.Require(names.insert(type.name).second, absl::StrCat(field, "must be there once"));
    rules.Require(type.value > 0 && type.value <= 10,
                  absl::StrCat(field, "must have a value > 0 and <= 10"));
    rules.Require(type.weight > 0 && type.weight <= 10,
                  absl::StrCat(field, "must have a weight > 0 and <= 10"));
  }
  rules.Require(variant == Variant::kAdaptive || (replay == 0 && event_types.empty()),
                "replay and event_types need variant adaptive");
  rules.Require(initial_rating > 0 && initial_rating <= max_rating,
                "initial_rating must be > 0 and <= max_rating");
  rules.Require(dedupe_window >= 1 && dedupe_window <= kMaxDedupeWindow,
                "dedupe_window must be 1 to 100000000");
  rules.Require(update_version >= 1 && update_version <= kUpdateVersion,
                absl::StrCat("update_version must be 1 to ", kUpdateVersion));
  return rules.Result();
}

std::map<std::string, std::string> ToFields(const ModelConfig& config) {
  return {
      {"rank", absl::StrCat(config.rank)},
      {"seed", absl::StrCat(config.seed)},
      {"min_rating", FloatText(config.min_rating)},
      {"max_rating", FloatText(config.max_rating)},
      {"variant", std::string(VariantName(config.variant))},
      {"solver", std::string(SolverName(config.solver))},
      {"aggressiveness", FloatText(config.aggressiveness)},
      {"epsilon", FloatText(config.epsilon)},
      {"bisection_tolerance", FloatText(config.bisection_tolerance)},
      {"offset", FloatText(config.offset)},
      {"attraction", FloatText(config.attraction)},
      {"replay", absl::StrCat(config.replay)},
      {"event_types", EventTypesText(config.event_types)},
      {"initial_rating", FloatText(config.initial_rating)},
      {"dedupe_window", absl::StrCat(config.dedupe_window)},
      {"update_version", absl::StrCat(config.update_version)},
  };
}

absl::StatusOr<ModelConfig> FromFields(const std::map<std::string, std::string>& fields) {
  ModelConfig config;
  // The version comes first: a newer one may well have fields that are unknown here.
  if (const auto it = fields.find("update_version"); it != fields.end()) {
    int32_t version = 0;
    if (absl::SimpleAtoi(it->second, &version) && (version < 1 || version > kUpdateVersion)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "update_version is ", version, ", but this program knows 1 to ", kUpdateVersion));
    }
  }
  FieldReader reader(fields);
  reader.Integer("rank", &config.rank);
  reader.Integer("seed", &config.seed);
  reader.Float("min_rating", &config.min_rating);
  reader.Float("max_rating", &config.max_rating);
  reader.Name("variant", VariantFromName, &config.variant);
  reader.Name("solver", SolverFromName, &config.solver);
  reader.Float("aggressiveness", &config.aggressiveness);
  reader.Float("epsilon", &config.epsilon);
  reader.Float("bisection_tolerance", &config.bisection_tolerance);
  reader.Float("offset", &config.offset);
  reader.Float("attraction", &config.attraction);
  reader.Integer("replay", &config.replay);
  reader.EventTypes("event_types", &config.event_types);
  reader.Float("initial_rating", &config.initial_rating);
  reader.Integer("dedupe_window", &config.dedupe_window);
  reader.Integer("update_version", &config.update_version);
  FACTORD_RETURN_IF_ERROR(reader.Result());
  FACTORD_RETURN_IF_ERROR(config.Validate());
  return config;
}

absl::string_view VariantName(Variant variant) {
  switch (variant) {
    case Variant::kPa:
      return "pa";
    case Variant::kPaI:
      return "pa-1";
    case Variant::kPaII:
      return "pa-2";
    case Variant::kAdaptive:
      return "adaptive";
  }
  return kUnknown;
}

absl::string_view SolverName(Solver solver) {
  switch (solver) {
    case Solver::kExact:
      return "exact";
    case Solver::kBisection:
      return "bisection";
    case Solver::kApproximate:
      return "approximate";
  }
  return kUnknown;
}

absl::StatusOr<Variant> VariantFromName(absl::string_view name) {
  for (const Variant variant : {Variant::kAdaptive, Variant::kPa, Variant::kPaI, Variant::kPaII}) {
    if (name == VariantName(variant)) return variant;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown variant '", name, "': one of adaptive, pa, pa-1, pa-2"));
}

absl::StatusOr<Solver> SolverFromName(absl::string_view name) {
  for (const Solver solver : {Solver::kExact, Solver::kBisection, Solver::kApproximate}) {
    if (name == SolverName(solver)) return solver;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown solver '", name, "': one of exact, bisection, approximate"));
}

std::optional<uint8_t> FindEventType(const ModelConfig& config, absl::string_view name) {
  for (size_t i = 0; i < config.event_types.size(); ++i) {
    if (config.event_types[i].name == name) return static_cast<uint8_t>(i);
  }
  return std::nullopt;
}

std::string EventTypesText(const std::vector<EventType>& types) {
  return absl::StrJoin(types, ",", [](std::string* out, const EventType& type) {
    absl::StrAppend(out, type.name, ":", FloatText(type.value), ":", FloatText(type.weight));
  });
}

absl::StatusOr<std::vector<EventType>> EventTypesFromText(absl::string_view text) {
  std::vector<EventType> types;
  if (text.empty()) return types;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> fields = absl::StrSplit(part, ':');
    EventType type = {.name = std::string(fields[0])};
    if (fields.size() > 3 || (fields.size() > 1 && !absl::SimpleAtof(fields[1], &type.value)) ||
        (fields.size() > 2 && !absl::SimpleAtof(fields[2], &type.weight))) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", part, "' is not name, name:value or name:value:weight"));
    }
    types.push_back(std::move(type));
  }
  return types;
}

}  // namespace factord
