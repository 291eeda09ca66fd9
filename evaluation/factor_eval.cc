// factor-eval: how accurate the model is, offline, on the library that the server runs.
//
// Exit code 2: a wrong flag, or input that cannot be read; 1: anything else, such as output that
// cannot be written.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "evaluation/evaluate.h"
#include "evaluation/svg_plot.h"
#include "ratings/text.h"
#include "ratings/title_reader.h"

ABSL_FLAG(std::string, data, "", "Ratings: .csv, .dat, u.data. Divided by --split.");
ABSL_FLAG(std::string, train, "", "Instead of --data: the ratings to learn, in this order,");
ABSL_FLAG(std::string, test, "", "and those to predict.");
ABSL_FLAG(
    std::string, split, "random",
    "random: a fifth of each user's ratings is predicted, the rest learned in random order. "
    "time: the newest fifth is predicted, the rest learned in order of time. last-out: each "
    "user's last rating is predicted and recommended. none: all are learned in order of time, "
    "for the errors before each rating is learned (prequential) of the whole stream.");
ABSL_FLAG(std::vector<std::string>, method, {"online"},
          "One or more of: online (the server's default), online-pa, online-pa-1, online-pa-2; "
          "pa, sgd-absolute, sgd-squared, projected-gradient, coordinate-descent, multiplicative, "
          "multiplicative-kl; biases, popularity.");
ABSL_FLAG(int32_t, passes, 1,
          "How often the training ratings are learned; online: how often they are sent.");
ABSL_FLAG(int64_t, seed, 1, "Of the split, of the order and of the start.");
ABSL_FLAG(int32_t, repeat, 1, "Repeats with seed, seed + 1, ...: means and deviations.");
ABSL_FLAG(int32_t, rank, 32, "Number of factors.");
ABSL_FLAG(std::optional<float>, min_rating, std::nullopt,
          "Smallest rating. Unset: 0 where all ratings are 0 to 5, otherwise the smallest.");
ABSL_FLAG(std::optional<float>, max_rating, std::nullopt,
          "Largest rating. Unset: 5 where all ratings are 0 to 5, otherwise the largest.");
ABSL_FLAG(std::optional<float>, aggressiveness, std::nullopt, "C of passive-aggressive methods.");
ABSL_FLAG(std::optional<float>, l2, std::nullopt, "Weight of the penalty of the other solvers.");
ABSL_FLAG(std::optional<float>, epsilon, std::nullopt,
          "Insensitivity of passive-aggressive methods.");
ABSL_FLAG(std::optional<float>, offset, std::nullopt,
          "Of --method=online: where factors start. Smaller ones give clearer topics and less "
          "accurate predictions. Unset: the server's default.");
ABSL_FLAG(std::optional<float>, attraction, std::nullopt,
          "Of --method=online: how much rows that met are drawn together, 0 to 1. Unset: the "
          "server's default.");
ABSL_FLAG(
    int32_t, replay, 0,
    "Of --method=online: how many ratings of the histories are learned once more beside each.");
ABSL_FLAG(
    std::string, event_type, "",
    "Of --method=online: the ratings are events of a type instead, NAME[:VALUE[:WEIGHT]], and "
    "their values do not matter. Errors of predicted ratings are left out of the output.");
ABSL_FLAG(std::string, rank_by, "score",
          "Of online methods: what recommends items. score: as the server does. rating: the "
          "predicted rating (not clipped), for comparison.");
ABSL_FLAG(
    bool, over_histories, false,
    "Of --method=online: later passes go over the histories, as the server's StartPasses does, "
    "instead of sending the ratings again.");
ABSL_FLAG(std::string, variant, "pa-1", "Of --method=pa: pa, pa-1 or pa-2.");
ABSL_FLAG(std::string, solver, "approximate",
          "Of passive-aggressive methods: exact, bisection or approximate.");
ABSL_FLAG(bool, non_negative, true, "Of --method=pa: false lets factors become negative.");
ABSL_FLAG(std::string, zeros, "missing",
          "missing: what is not in the file is unknown. observed: it is 0 (counts, pixels); batch "
          "solvers only.");
ABSL_FLAG(bool, tune, false,
          "Chooses C or l2 on a quarter of the training ratings, for each method and seed: with "
          "--split=time and with --train the last quarter in their order, otherwise a random one.");
ABSL_FLAG(int32_t, top, 10,
          "How many items are recommended to each user of the test, of those learned that the user "
          "has not rated: for recall, NDCG, and coverage, which is how many different ones were. "
          "With --split=last-out, and with --train and --test where no user is twice in the test. "
          "What is not in the training ratings, user or item, counts as not found. 0: none.");
ABSL_FLAG(bool, json, false, "One JSON object a method, and nothing else, on standard output.");
ABSL_FLAG(std::string, predictions, "",
          "Writes CSV: user,item,prediction of each test rating of the last method and seed. With "
          "--split=none and an online method: of each rating before it was learned for the first "
          "time, those left out that came again as they were.");
ABSL_FLAG(std::string, recommendations, "",
          "Writes CSV: user,rank,item, the lists of the last method and seed that recall, NDCG and "
          "coverage are of, ranks from 1. A user of the test whom the training ratings do not have "
          "gets no list.");
ABSL_FLAG(std::string, plot, "", "Writes an SVG: error% after each pass against seconds.");
ABSL_FLAG(std::string, factors, "",
          "Writes CSV: the items' factors of the last method, item and a column a factor.");
ABSL_FLAG(int32_t, topics, 0, "Prints so many top items of each factor of each method,");
ABSL_FLAG(std::string, titles, "", "with the titles and genres of this file.");

namespace factord {
namespace {

using nlohmann::json;

struct Data {
  DataSet set;
  std::vector<Interaction> events;  // of --data
  Split given;                      // of --train and --test
  bool is_given = false;
};

absl::StatusOr<std::vector<Interaction>> ReadSome(const std::string& path, DataSet* set) {
  absl::StatusOr<std::vector<Interaction>> events = ReadInteractions(path, set);
  if (!events.ok()) return absl::InvalidArgumentError(events.status().message());
  if (events->empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": has no ratings"));
  return events;
}

absl::StatusOr<Data> ReadData() {
  Data data;
  const std::string path = absl::GetFlag(FLAGS_data);
  data.is_given = path.empty();
  if (!data.is_given) {
    if (!absl::GetFlag(FLAGS_train).empty() || !absl::GetFlag(FLAGS_test).empty()) {
      return absl::InvalidArgumentError("give --data, or --train and --test, not both");
    }
    FACTORD_ASSIGN_OR_RETURN(data.events, ReadSome(path, &data.set));
    return data;
  }
  if (absl::GetFlag(FLAGS_train).empty() || absl::GetFlag(FLAGS_test).empty()) {
    return absl::InvalidArgumentError("give --data, or --train and --test");
  }
  FACTORD_ASSIGN_OR_RETURN(data.given.train, ReadSome(absl::GetFlag(FLAGS_train), &data.set));
  FACTORD_ASSIGN_OR_RETURN(data.given.test, ReadSome(absl::GetFlag(FLAGS_test), &data.set));
  return data;
}

// Of the options, from flags and data.
absl::Status SetRange(const Data& data, MethodOptions* options) {
  float low = 0, high = 5;
  bool fits = true;
  float smallest = 0, largest = 0;
  bool is_first = true;
  for (const auto* part : {&data.events, &data.given.train, &data.given.test}) {
    for (const Interaction& event : *part) {
      smallest = is_first ? event.rating : std::min(smallest, event.rating);
      largest = is_first ? event.rating : std::max(largest, event.rating);
      is_first = false;
    }
  }
  fits = smallest >= low && largest <= high;
  options->min_rating = absl::GetFlag(FLAGS_min_rating).value_or(fits ? low : smallest);
  options->max_rating = absl::GetFlag(FLAGS_max_rating).value_or(fits ? high : largest);
  if (options->zeros == Zeros::kObserved) options->min_rating = 0;
  if (!(options->min_rating < options->max_rating)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "ratings: --min_rating (", options->min_rating, ") must be below --max_rating (",
        options->max_rating, "); unset, they are the smallest and the largest rating"));
  }
  if (smallest >= options->min_rating && largest <= options->max_rating) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("ratings are ", smallest, " to ", largest,
                                                 ", not within --min_rating and --max_rating"));
}

absl::StatusOr<MethodOptions> OptionsFromFlags() {
  MethodOptions options;
  options.rank = absl::GetFlag(FLAGS_rank);
  options.replay = absl::GetFlag(FLAGS_replay);
  options.over_histories = absl::GetFlag(FLAGS_over_histories);
  if (const std::string type = absl::GetFlag(FLAGS_event_type); !type.empty()) {
    FACTORD_ASSIGN_OR_RETURN(const std::vector<EventType> types, EventTypesFromText(type));
    if (types.size() != 1) return absl::InvalidArgumentError("event_type: give one");
    options.event_type = types[0];
  }
  const std::string rank_by = absl::GetFlag(FLAGS_rank_by);
  if (rank_by != "score" && rank_by != "rating") {
    return absl::InvalidArgumentError("rank_by: must be score or rating");
  }
  options.rank_by = rank_by == "rating" ? RankBy::kRating : RankBy::kScore;

  options.aggressiveness = absl::GetFlag(FLAGS_aggressiveness);
  options.l2 = absl::GetFlag(FLAGS_l2);
  options.epsilon = absl::GetFlag(FLAGS_epsilon);
  options.offset = absl::GetFlag(FLAGS_offset);
  options.attraction = absl::GetFlag(FLAGS_attraction);
  options.non_negative = absl::GetFlag(FLAGS_non_negative);
  FACTORD_ASSIGN_OR_RETURN(options.variant, VariantFromName(absl::GetFlag(FLAGS_variant)));
  FACTORD_ASSIGN_OR_RETURN(options.step_solver, SolverFromName(absl::GetFlag(FLAGS_solver)));
  const std::string zeros = absl::GetFlag(FLAGS_zeros);
  if (zeros != "missing" && zeros != "observed") {
    return absl::InvalidArgumentError("zeros: must be missing or observed");
  }
  options.zeros = zeros == "observed" ? Zeros::kObserved : Zeros::kMissing;
  return options;
}

// What is measured of one method, a value a seed.
using Measures = std::map<std::string, std::vector<double>>;

// Events of a type have no rating that a prediction could be wrong about.
bool HasRatings(const MethodOptions& options) { return !options.event_type.has_value(); }

void RecordRatingErrors(const Evaluation& evaluation, Measures* measures) {
  const auto set = [measures](const std::string& name, double value) {
    (*measures)[name].push_back(value);
  };
  if (const RatingErrors& test = evaluation.passes.back().test; test.size() > 0) {
    set("error_percent", test.error_percent());
    set("mae", test.mae());
    set("rmse", test.rmse());
  }
  if (evaluation.prequential.has_value()) {
    set("prequential_mae", evaluation.prequential->mae());
    set("prequential_rmse", evaluation.prequential->rmse());
    set("prequential_mae_second_half", evaluation.prequential_second_half->mae());
  }
  if (evaluation.passive_share.has_value()) set("passive_share", *evaluation.passive_share);
}

void Record(const MethodOptions& options, const Evaluation& evaluation, Measures* measures) {
  const auto set = [measures](const std::string& name, double value) {
    (*measures)[name].push_back(value);
  };
  if (absl::GetFlag(FLAGS_tune)) {
    if (options.aggressiveness) set("aggressiveness", static_cast<double>(*options.aggressiveness));
    if (options.l2) set("l2", static_cast<double>(*options.l2));
  }
  if (HasRatings(options)) RecordRatingErrors(evaluation, measures);
  const PassResult& last = evaluation.passes.back();
  set("seconds", last.seconds);
  const auto learned =
      static_cast<double>(evaluation.train_events) * static_cast<double>(evaluation.passes.size());
  set("ratings_per_second", last.seconds > 0 ? learned / last.seconds : 0);
  if (last.objective.has_value()) set("objective", *last.objective);
  if (evaluation.ranking.has_value()) {
    set("recall", evaluation.ranking->recall());
    set("ndcg", evaluation.ranking->ndcg());
    set("coverage", static_cast<double>(evaluation.ranking->coverage()));
  }
}

json ToJson(const MethodOptions& options, const Split& split, const Measures& measures) {
  json object = {{"method", options.name},
                 {"passes", absl::GetFlag(FLAGS_passes)},
                 {"seed", absl::GetFlag(FLAGS_seed)},
                 {"repeat", absl::GetFlag(FLAGS_repeat)},
                 {"rank", options.rank},
                 {"min_rating", options.min_rating},
                 {"max_rating", options.max_rating},
                 {"train_events", split.train.size()},
                 {"test_events", split.test.size()}};
  if (options.aggressiveness.has_value()) object["aggressiveness"] = *options.aggressiveness;
  if (options.l2.has_value()) object["l2"] = *options.l2;
  if (options.replay > 0) object["replay"] = options.replay;
  if (options.over_histories) object["over_histories"] = true;
  if (options.rank_by == RankBy::kRating) object["rank_by"] = "rating";
  if (options.event_type.has_value()) object["event_type"] = EventTypesText({*options.event_type});
  if (options.offset.has_value()) object["offset"] = *options.offset;
  if (options.attraction.has_value()) object["attraction"] = *options.attraction;
  if (!absl::GetFlag(FLAGS_data).empty()) object["split"] = absl::GetFlag(FLAGS_split);
  // Where nothing is held out, and of methods that predict nothing before they have learned
  // everything.
  if (HasRatings(options)) {
    for (const char* name : {"error_percent", "mae", "rmse", "prequential_mae"}) {
      object[name] = nullptr;
    }
  }
  for (const auto& [name, values] : measures) {
    const Spread spread = SpreadOf(values);
    object[name] = spread.mean;
    if (values.size() > 1) object[name + "_deviation"] = spread.deviation;
  }
  if (absl::GetFlag(FLAGS_repeat) > 1) object["values"] = measures;  // a list a measure
  if (measures.contains("recall")) object["top"] = absl::GetFlag(FLAGS_top);
  return object;
}

// As given, or as tuned for each seed.
void PrintConstant(const char* label, const char* name, std::optional<float> given,
                   const Measures& measures) {
  const auto tuned = measures.find(name);
  if (tuned != measures.end()) {
    std::printf("  %s=%s", label, absl::StrJoin(tuned->second, ",").c_str());
  } else if (given.has_value()) {
    std::printf("  %s=%g", label, static_cast<double>(*given));
  }
}

void PrintTable(const std::vector<std::pair<MethodOptions, Measures>>& rows) {
  constexpr const char* kColumns[] = {"error_percent",   "mae",     "rmse",
                                      "prequential_mae", "recall",  "ndcg",
                                      "coverage",        "seconds", "ratings_per_second"};
  std::vector<std::string> used;
  for (const char* column : kColumns) {
    for (const auto& [options, measures] : rows) {
      if (!measures.contains(column)) continue;
      used.emplace_back(column);
      break;
    }
  }
  std::printf("%-20s", "method");
  for (const std::string& column : used) std::printf(" %18s", column.c_str());
  std::printf("\n");
  for (const auto& [options, measures] : rows) {
    std::printf("%-20s", options.name.c_str());
    for (const std::string& column : used) {
      std::string cell = "-";
      if (const auto found = measures.find(column); found != measures.end()) {
        const Spread spread = SpreadOf(found->second);
        cell = spread.mean >= 1000 ? absl::StrFormat("%.0f", spread.mean)
                                   : absl::StrFormat("%.4f", spread.mean);
        if (found->second.size() > 1) absl::StrAppendFormat(&cell, " +-%.2g", spread.deviation);
      }
      std::printf(" %18s", cell.c_str());
    }
    PrintConstant("C", "aggressiveness", options.aggressiveness, measures);
    PrintConstant("l2", "l2", options.l2, measures);
    std::printf("\n");
  }
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text;
  file.close();
  return file ? absl::OkStatus() : absl::UnknownError(absl::StrCat("cannot write ", path));
}

// A run of its own, which is not timed: keeping predictions makes it slower.
absl::StatusOr<std::unique_ptr<Method>> LearnKeepingPredictions(MethodOptions options,
                                                                const Data& data,
                                                                const Split& split) {
  options.keep_first_predictions = true;
  FACTORD_ASSIGN_OR_RETURN(std::unique_ptr<Method> method, MakeMethod(options, &data.set));
  FACTORD_RETURN_IF_ERROR(method->Pass(split.train));
  return method;
}

// Of the test; where nothing is held out, of the stream, each before it was learned.
absl::Status WritePredictions(const MethodOptions& options, const Data& data, const Split& split,
                              const Evaluation& evaluation) {
  const std::string path = absl::GetFlag(FLAGS_predictions);
  if (path.empty()) return absl::OkStatus();
  std::string text = "user,item,prediction\n";
  const auto add = [&](const Interaction& event, double predicted) {
    absl::StrAppendFormat(&text, "%s,%s,%.9g\n", CsvField(data.set.users[event.user]),
                          CsvField(data.set.items[event.item]), predicted);
  };
  for (size_t i = 0; i < split.test.size(); ++i) add(split.test[i], evaluation.predictions[i]);
  if (split.test.empty() && absl::GetFlag(FLAGS_split) == "none") {
    FACTORD_ASSIGN_OR_RETURN(const std::unique_ptr<Method> method,
                             LearnKeepingPredictions(options, data, split));
    for (const auto& [event, predicted] : method->first_predictions()) {
      add(split.train[event], predicted);
    }
  }
  return WriteFile(path, text);
}

absl::Status WriteRecommendations(const Data& data, const Split& split,
                                  const Evaluation& evaluation) {
  const std::string path = absl::GetFlag(FLAGS_recommendations);
  if (path.empty()) return absl::OkStatus();
  std::string text = "user,rank,item\n";
  for (size_t i = 0; i < split.test.size(); ++i) {
    const std::string user = CsvField(data.set.users[split.test[i].user]);
    const std::vector<uint32_t>& items = evaluation.recommended[i];
    for (size_t j = 0; j < items.size(); ++j) {
      absl::StrAppend(&text, user, ",", j + 1, ",", CsvField(data.set.items[items[j]]), "\n");
    }
  }
  return WriteFile(path, text);
}

absl::Status WriteFactors(const Data& data, const FactorMatrix& factors) {
  const std::string path = absl::GetFlag(FLAGS_factors);
  if (path.empty()) return absl::OkStatus();
  std::string text;
  for (uint32_t item = 0; item < factors.rows(); ++item) {
    absl::StrAppend(&text, CsvField(data.set.items[item]));
    for (size_t k = 0; k < factors.rank(); ++k) {
      absl::StrAppendFormat(&text, ",%.6g", static_cast<double>(factors.row(item)[k]));
    }
    text += '\n';
  }
  return WriteFile(path, text);
}

absl::Status PrintTopics(const Data& data, const FactorMatrix& factors) {
  const auto count = static_cast<size_t>(std::max(absl::GetFlag(FLAGS_topics), 0));
  if (count == 0) return absl::OkStatus();
  Titles titles;
  if (!absl::GetFlag(FLAGS_titles).empty()) {
    FACTORD_ASSIGN_OR_RETURN(titles, ReadTitles(absl::GetFlag(FLAGS_titles)));
  }
  for (size_t k = 0; k < factors.rank(); ++k) {
    std::vector<std::pair<float, uint32_t>> weights;
    for (uint32_t item = 0; item < factors.rows(); ++item) {
      weights.emplace_back(-factors.row(item)[k], item);
    }
    const size_t n = std::min(count, weights.size());
    std::partial_sort(weights.begin(), weights.begin() + static_cast<ptrdiff_t>(n), weights.end());
    std::printf("factor %zu\n", k);
    for (size_t i = 0; i < n; ++i) {
      const std::string& item = data.set.items[weights[i].second];
      const auto found = titles.find(item);
      std::printf("  %8.3f  %s\n", -static_cast<double>(weights[i].first),
                  found == titles.end() ? item.c_str()
                                        : absl::StrCat(found->second.title, "  ",
                                                       absl::StrJoin(found->second.genres, "|"))
                                              .c_str());
    }
  }
  return absl::OkStatus();
}

absl::Status Run() {
  FACTORD_ASSIGN_OR_RETURN(const Data data, ReadData());
  FACTORD_ASSIGN_OR_RETURN(MethodOptions common, OptionsFromFlags());
  FACTORD_RETURN_IF_ERROR(SetRange(data, &common));
  FACTORD_ASSIGN_OR_RETURN(const SplitKind kind, SplitKindFromName(absl::GetFlag(FLAGS_split)));
  const int32_t passes = absl::GetFlag(FLAGS_passes), repeat = absl::GetFlag(FLAGS_repeat);
  if (passes < 1 || repeat < 1) {
    return absl::InvalidArgumentError("passes, repeat: must be at least 1");
  }
  const bool ranks = data.is_given ? HasOneItemAUser(data.given.test) : kind == SplitKind::kLastOut;
  if (absl::GetFlag(FLAGS_method).empty()) {
    return absl::InvalidArgumentError("method: name at least one");
  }
  const TuneOn quarter =
      data.is_given || kind == SplitKind::kTime ? TuneOn::kLast : TuneOn::kRandom;
  const auto k = static_cast<size_t>(ranks ? std::max(absl::GetFlag(FLAGS_top), 0) : 0);
  if (k == 0 && !absl::GetFlag(FLAGS_recommendations).empty()) {
    return absl::InvalidArgumentError(
        "recommendations: only with --split=last-out, or with --train and --test where no user is "
        "twice in the test; and --top above 0");
  }

  std::vector<std::pair<MethodOptions, Measures>> rows;
  Plot plot = {.title = "Test error after each pass",
               .x_label = "seconds",
               .y_label = "error%",
               .log_x = true};
  for (const std::string& name : absl::GetFlag(FLAGS_method)) {
    MethodOptions options = common;
    options.name = name;
    Measures measures;
    Split split;
    for (int32_t i = 0; i < repeat; ++i) {
      options.seed = absl::GetFlag(FLAGS_seed) + i;
      const auto seed = static_cast<uint64_t>(options.seed);
      split = data.is_given ? data.given : Divide(data.events, kind, seed);
      if (absl::GetFlag(FLAGS_tune)) {
        FACTORD_ASSIGN_OR_RETURN(options, Tune(options, data.set, split, passes, quarter, seed));
      }
      FACTORD_ASSIGN_OR_RETURN(const Evaluation evaluation,
                               Evaluate(options, data.set, split, passes, k));
      Record(options, evaluation, &measures);
      if (i + 1 < repeat) continue;
      PlotLine line = {.name = name, .points = {}};
      for (const PassResult& pass : evaluation.passes) {
        if (pass.test.size() == 0) continue;
        line.points.emplace_back(pass.seconds, pass.test.error_percent());
      }
      plot.lines.push_back(std::move(line));
      FACTORD_RETURN_IF_ERROR(WritePredictions(options, data, split, evaluation));
      FACTORD_RETURN_IF_ERROR(WriteRecommendations(data, split, evaluation));
      if (const std::optional<FactorMatrix> factors = evaluation.method->item_factors()) {
        FACTORD_RETURN_IF_ERROR(WriteFactors(data, *factors));
        FACTORD_RETURN_IF_ERROR(PrintTopics(data, *factors));
      }
    }
    if (absl::GetFlag(FLAGS_json)) std::cout << ToJson(options, split, measures) << std::endl;
    rows.emplace_back(options, std::move(measures));
  }
  if (!absl::GetFlag(FLAGS_json)) PrintTable(rows);
  if (!absl::GetFlag(FLAGS_plot).empty()) {
    return WriteFile(absl::GetFlag(FLAGS_plot), ToSvg(plot));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace factord

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "how accurate a method is on a rating set.\n\n"
      "  factor-eval --data=ratings.csv --method=online --split=random --passes=1 --seed=1\n"
      "  factor-eval --data=ratings.csv --split=last-out --method=online,popularity --json\n"
      "  factor-eval --train=u1.base --test=u1.test --method=pa,coordinate-descent --tune "
      "--plot=e.svg");
  if (absl::ParseCommandLine(argc, argv).size() > 1) {
    std::fprintf(stderr, "factor-eval: unexpected argument; see --help\n");
    return 2;
  }
  const absl::Status status = factord::Run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "factor-eval: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? 2 : 1;
}
