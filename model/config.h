// The configuration of a model: everything, besides the log, that its state is a function of. It
// is written when a data folder is created and never changes after that.
//
//   ModelConfig config;
//   config.rank = 64;
//   FACTORD_RETURN_IF_ERROR(config.Validate());
//
// Plain values: thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace factord {

// The update: how slack is paid for (docs/algorithm.md).
enum class Variant {
  kPa = 1,       // NN-PA: no slack
  kPaI = 2,      // NN-PA-I: slack costs C xi
  kPaII = 3,     // NN-PA-II: slack costs C xi^2
  kAdaptive = 4  // NN-PA-II with a C of its own for each row and event (model/adaptive_update.h)
};

// How the step is found when the prediction is too high.
enum class Solver {
  kExact = 1,       // root by randomised pivots over the breakpoints, expected O(m)
  kBisection = 2,   // root to a relative tolerance
  kApproximate = 3  // the closed-form step, then truncation at 0
};

// The newest version of the update rule, which new folders get. A new rule gets a new number, and
// folders keep theirs: all from 1 on are known. 2 learns more from ratings that come again
// (adaptive; docs/algorithm.md).
inline constexpr int32_t kUpdateVersion = 2;

// Solvers keep scratch space for this many factors on the stack.
inline constexpr int32_t kMaxRank = 1024;

// A kind of event that is no rating: a click, a purchase. It teaches the ranking that the user took
// the item up, and nothing else: predicted ratings stay as they are.
struct EventType {
  std::string name;  // 1 to 32 of a-z, 0-9, '_', '-'; the first a letter
  // By how much the item shall score above items that others took up, in (0, 10].
  float value = 1;
  // How strongly an event teaches, in (0, 10]: the C of its passive-aggressive update is so many
  // times that of a rating.
  float weight = 1;

  friend bool operator==(const EventType& a, const EventType& b) = default;
};

inline constexpr size_t kMaxEventTypes = 32;

struct ModelConfig {
  // Number of factors m: 1 to kMaxRank.
  int32_t rank = 32;
  // Seed of the rows' start values.
  int64_t seed = 1;
  // Range of ratings: 0 <= min < max, both finite. The pure updates need only the maximum; the
  // adaptive one measures everything by the difference.
  float min_rating = 0;
  float max_rating = 5;
  Variant variant = Variant::kAdaptive;
  // The next four are of the pure updates alone.
  Solver solver = Solver::kApproximate;
  // Aggressiveness C > 0. The default is tuned for rank 32 and ratings up to 5, on the error before
  // each update in one pass in time order: of .005 to .2 it is best on MovieLens latest-small (MAE
  // .684) and 100K (.756), and level with .01 on 1M (.729).
  float aggressiveness = 0.02f;
  // Insensitivity >= 0, in rating units.
  float epsilon = 0;
  // Bisection stops when |f| <= tolerance * (y + epsilon); in (0, 1).
  float bisection_tolerance = 1e-3f;
  // Adaptive: where factors start, in (0, 10], in the square root of a quarter of the range.
  // Smaller ones give more zeros, so clearer topics, and less accurate predictions.
  float offset = 0.4f;
  // Adaptive: how much rows that met are drawn together, 0 to 1. Helps where people choose what
  // they rate; 0 where they do not.
  float attraction = 0.1f;
  // Adaptive: so many events of the histories, drawn anew for each event, are learned once more
  // beside it: 0 to 16. Each costs half to two thirds of what an event does.
  int32_t replay = 0;
  // Adaptive: what events there are beside ratings. At most kMaxEventTypes, no name twice.
  std::vector<EventType> event_types = {};
  // What a pair of fresh rows predicts, about: each entry starts within 20% of
  // sqrt(initial_rating / rank). In (0, max_rating]. Default: 0.7 of max_rating, where the means of
  // the usual rating sets lie. Adaptive: what is predicted before the first rating.
  float initial_rating = 3.5f;
  // How many sequences back event ids are remembered: 1 to 100,000,000.
  int64_t dedupe_window = 1'000'000;
  int32_t update_version = kUpdateVersion;  // from 1

  // INVALID_ARGUMENT naming every bad field and its rule.
  absl::Status Validate() const;

  friend bool operator==(const ModelConfig& a, const ModelConfig& b) = default;
};

// What initial_rating is where only the range is given.
inline float DefaultInitialRating(float max_rating) { return 0.7f * max_rating; }

// Names and values as text; floats so that they come back bit for bit. FromFields refuses unknown,
// missing and malformed fields and broken rules (INVALID_ARGUMENT, all named), and an
// update_version it does not know (FAILED_PRECONDITION).
std::map<std::string, std::string> ToFields(const ModelConfig& config);
absl::StatusOr<ModelConfig> FromFields(const std::map<std::string, std::string>& fields);

// The text names of the two choices: "pa", "pa-1", "pa-2", "adaptive"; "exact", "bisection",
// "approximate".
absl::string_view VariantName(Variant variant);
absl::string_view SolverName(Solver solver);
absl::StatusOr<Variant> VariantFromName(absl::string_view name);
absl::StatusOr<Solver> SolverFromName(absl::string_view name);

// The place of a type in config.event_types.
std::optional<uint8_t> FindEventType(const ModelConfig& config, absl::string_view name);

// "view:0.5:0.2,purchase:2": name, value and weight of each, the last two 1 where they are left
// out.
std::string EventTypesText(const std::vector<EventType>& types);
// INVALID_ARGUMENT: malformed. What values must be, Validate says.
absl::StatusOr<std::vector<EventType>> EventTypesFromText(absl::string_view text);

}  // namespace factord
