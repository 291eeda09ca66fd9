#include "benchmarks/server_rows.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <thread>

namespace factord {
namespace {

constexpr double kPercents[] = {50, 99, 99.9};

constexpr int kEventsAMessage = 100;
constexpr std::chrono::milliseconds kPollInterval(1);

// factord and the echo, with what each has reached.
struct Sides {
  Reached ours, echo;
};

// The replies of both must be alike, or one of them has had less to do.
absl::Status CheckReplies(const Sides& sides) {
  const double ratio = sides.ours.mean_bytes() / sides.echo.mean_bytes();
  if (std::abs(ratio - 1) < 0.25) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("replies of ", sides.ours.mean_bytes(), " bytes against ",
                                          sides.echo.mean_bytes()));
}

void AddRate(const std::string& name, const Sides& sides, const char* unit,
             std::optional<double> at_least, std::vector<Measurement>* results) {
  results->push_back({.name = name,
                      .value = sides.ours.rate(),
                      .unit = unit,
                      .reference = "echo",
                      .reference_value = sides.echo.rate(),
                      .at_least = at_least});
}

// p50, p99 and p99.9; there may be a target for p99.
void AddLatencies(const std::string& name, const Sides& sides, std::optional<double> p99_at_most,
                  std::vector<Measurement>* results) {
  for (const double percent : kPercents) {
    results->push_back({.name = absl::StrCat(name, "-p", percent),
                        .value = sides.ours.Latency(percent),
                        .unit = "us",
                        .reference = "echo",
                        .reference_value = sides.echo.Latency(percent),
                        .at_most = percent == 99 ? p99_at_most : std::nullopt});
  }
}

// One load after another, on both in turn.
class CallRounds {
 public:
  CallRounds(const BenchOptions& options, const ServerUnderLoad* ours, const ServerUnderLoad* echo)
      : rounds_(RoundsOf(options)), ours_(ours), echo_(echo) {}

  absl::StatusOr<Sides> Measure(const CallLoad::Options& load) const {
    Sides sides;
    for (int round = 0; round < rounds_.count; ++round) {
      FACTORD_RETURN_IF_ERROR(MeasureOne(*ours_, load, &sides.ours));
      FACTORD_RETURN_IF_ERROR(Annotate(MeasureOne(*echo_, load, &sides.echo), "echo"));
    }
    FACTORD_RETURN_IF_ERROR(CheckReplies(sides));
    return sides;
  }

 private:
  absl::Status MeasureOne(const ServerUnderLoad& server, const CallLoad::Options& load,
                          Reached* reached) const {
    return MeasureRound(
        rounds_,
        [&](Meter* meter) {
          return std::make_unique<CallLoad>(server.Connect(kConnections), load, meter);
        },
        reached);
  }

  const Rounds rounds_;
  const ServerUnderLoad* const ours_;
  const ServerUnderLoad* const echo_;
};

}  // namespace

void Reached::Add(const Meter& meter) {
  rates_.push_back(meter.rate());
  std::vector<double>& latencies = latencies_.emplace_back();
  for (const double percent : kPercents) latencies.push_back(meter.latencies().Percentile(percent));
  mean_bytes_ = meter.mean_bytes();
  units_ += meter.units();
  refused_ += meter.refused();
}

double Reached::rate() const { return *std::max_element(rates_.begin(), rates_.end()); }

double Reached::Latency(double percent) const {
  const auto column = std::find(std::begin(kPercents), std::end(kPercents), percent);
  std::vector<double> values;
  for (const auto& of_round : latencies_) {
    values.push_back(of_round[static_cast<size_t>(column - std::begin(kPercents))]);
  }
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

absl::Status Learn(const ServerUnderLoad& server, int64_t events, RatingRequests* requests) {
  Meter meter;
  meter.Start();
  StreamLoad load(server.Connect(kConnections), {.streams = kConnections}, requests, &meter);
  while (meter.units() < events && meter.status().ok()) std::this_thread::sleep_for(kPollInterval);
  return meter.status();
}

absl::Status BenchStream(const BenchOptions& options, std::vector<Measurement>* results) {
  Rounds rounds = RoundsOf(options);
  // Most users are new in the first second, which shall count.
  rounds.warm_up = std::min(rounds.warm_up, std::chrono::milliseconds(100));
  RatingRequests requests(MovieLens10M(), options.seed, options.smoke ? 100'000 : 10'000'000);
  const std::string folder = options.scratch_dir + "/stream";
  Sides sides;
  const auto measure = [&](const ServerUnderLoad& server, Reached* reached) {
    requests.Rewind();
    return MeasureRound(
        rounds,
        [&](Meter* meter) {
          return std::make_unique<StreamLoad>(
              server.Connect(kConnections),
              StreamLoad::Options{.streams = kConnections, .events_a_message = kEventsAMessage},
              &requests, meter);
        },
        reached);
  };
  for (int round = 0; round < rounds.count; ++round) {
    {
      // From an empty folder: there are new ids in each round.
      FACTORD_ASSIGN_OR_RETURN(const auto ours, ServerUnderLoad::StartFactord(folder, {}));
      FACTORD_RETURN_IF_ERROR(measure(*ours, &sides.ours));
    }
    FACTORD_ASSIGN_OR_RETURN(const auto echo, ServerUnderLoad::StartEcho(folder));
    FACTORD_RETURN_IF_ERROR(Annotate(measure(*echo, &sides.echo), "echo"));
  }
  FACTORD_RETURN_IF_ERROR(CheckReplies(sides));
  AddRate("stream", sides, "events/s", 0.25, results);
  AddLatencies("stream", sides, std::nullopt, results);
  return absl::OkStatus();
}

absl::Status BenchUnary(const BenchOptions& options, std::vector<Measurement>* results) {
  RatingRequests requests(MovieLens10M(), options.seed, options.smoke ? 10'000 : 2'000'000);
  FACTORD_ASSIGN_OR_RETURN(const auto ours,
                           ServerUnderLoad::StartFactord(options.scratch_dir + "/unary", {}));
  FACTORD_ASSIGN_OR_RETURN(const auto echo,
                           ServerUnderLoad::StartEcho(options.scratch_dir + "/echo"));
  const CallRounds rounds(options, ours.get(), echo.get());
  CallLoad::Options load = {.method = kRecordRatings,
                            .make_request = [&requests] { return requests.Record(); },
                            .in_flight = 64};
  FACTORD_ASSIGN_OR_RETURN(const Sides closed, rounds.Measure(load));
  AddRate("unary", closed, "calls/s", 0.6, results);
  AddLatencies("unary", closed, 3, results);
  // What a client sees whose calls do not wait for each other, of a server that is half busy.
  load.per_second = closed.ours.rate() / 2;
  FACTORD_ASSIGN_OR_RETURN(const Sides open, rounds.Measure(load));
  AddLatencies("unary/open-half", open, std::nullopt, results);
  return absl::OkStatus();
}

absl::Status BenchRecommend(const BenchOptions& options, std::vector<Measurement>* results) {
  const int64_t learned = options.smoke ? 20'000 : 1'000'000;
  RatingRequests requests(MovieLens10M(), options.seed, learned);
  FACTORD_ASSIGN_OR_RETURN(const auto ours,
                           ServerUnderLoad::StartFactord(options.scratch_dir + "/recommend", {}));
  FACTORD_ASSIGN_OR_RETURN(const auto echo,
                           ServerUnderLoad::StartEcho(options.scratch_dir + "/echo"));
  FACTORD_RETURN_IF_ERROR(Learn(*ours, learned, &requests));
  const CallRounds rounds(options, ours.get(), echo.get());
  CallLoad::Options load = {.method = kRecommendItems,
                            .make_request = [&requests] { return requests.Recommend(); },
                            .in_flight = 32};
  FACTORD_ASSIGN_OR_RETURN(const Sides many, rounds.Measure(load));
  AddRate("recommend", many, "calls/s", 0.5, results);
  AddLatencies("recommend", many, std::nullopt, results);
  load.in_flight = 1;
  FACTORD_ASSIGN_OR_RETURN(const Sides one, rounds.Measure(load));
  AddLatencies("recommend/one", one, 2, results);
  return absl::OkStatus();
}

}  // namespace factord
