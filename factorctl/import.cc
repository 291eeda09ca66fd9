#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/event_ids.h"
#include "factorctl/commands.h"
#include "factorctl/import_source.h"
#include "factorctl/json.h"
#include "factorctl/progress.h"
#include "factorctl/rating_csv.h"
#include "factorctl/table.h"

namespace factord {
namespace {

// What came of an import.
struct Summary {
  std::string path;
  std::string producer;
  int64_t malformed = 0;
  int64_t filtered = 0;
  RatingStream::Stats stats;
  double seconds = 0;
  std::optional<v1::PrequentialError> error;
  bool complete = false;

  // Found to be there after a broken connection is applied, too: they are durable, by this run.
  int64_t applied() const { return stats.applied + stats.recovered; }
  int64_t per_second() const {
    const int64_t settled = stats.acknowledged - stats.resumed;
    return seconds > 0 ? static_cast<int64_t>(static_cast<double>(settled) / seconds) : 0;
  }
};

std::string AsJson(const Summary& summary) {
  Json json;
  json["file"] = summary.path;
  json["producer"] = summary.producer;
  json["complete"] = summary.complete;
  json["read"] = summary.stats.written + summary.malformed + summary.filtered;
  json["malformed"] = summary.malformed;
  json["filtered"] = summary.filtered;
  json["sent"] = summary.stats.written - summary.stats.resumed;
  json["acknowledged"] = summary.stats.acknowledged;
  json["applied"] = summary.applied();
  json["duplicates"] = summary.stats.duplicates;
  json["already_there"] = summary.stats.resumed;
  json["rejected"] = summary.stats.rejected;
  json["reconnects"] = summary.stats.reconnects;
  json["last_sequence"] = summary.stats.last_sequence;
  json["seconds"] = summary.seconds;
  json["prequential_error"] = summary.error.has_value() ? ToJson(*summary.error) : Json(nullptr);
  return Dump(json) + "\n";
}

std::string AsText(const Summary& summary) {
  const RatingStream::Stats& stats = summary.stats;
  std::vector<std::pair<std::string, std::string>> lines = {
      {"read", absl::StrCat(WithCommas(stats.written + summary.malformed + summary.filtered),
                            " ratings from ", summary.path)},
      {"applied", summary.applied() == 0
                      ? "nothing"
                      : absl::StrFormat("%s in %.1f s, %s/s", WithCommas(summary.applied()),
                                        summary.seconds, WithCommas(summary.per_second()))}};
  const auto add_unless_zero = [&lines](absl::string_view name, int64_t count,
                                        absl::string_view explanation) {
    if (count == 0) return;
    lines.emplace_back(std::string(name), absl::StrCat(WithCommas(count), explanation));
  };
  add_unless_zero("already there", stats.resumed, ", from an earlier run: not sent again");
  add_unless_zero("duplicates", stats.duplicates, ", not applied again");
  add_unless_zero("filtered", summary.filtered, ", by --min_rating or --max_rating");
  add_unless_zero("malformed", summary.malformed, " lines, left out");
  add_unless_zero("rejected", stats.rejected, " by the server: not sent again (see --rejected)");
  add_unless_zero("not settled", stats.written - stats.acknowledged,
                  ": run the same command again to go on");
  add_unless_zero("reconnects", stats.reconnects, "");
  if (summary.error.has_value() && summary.error->events() > 0) {
    lines.emplace_back("prequential error",
                       absl::StrFormat("MAE %.4f (lately %.4f), RMSE %.4f", summary.error->mae(),
                                       summary.error->fading_mae(), summary.error->rmse()));
  }
  lines.emplace_back("producer", summary.producer);
  return NamedValues(lines);
}

// Spreads the ratings evenly over a time.
class Pacer {
 public:
  // 0 seconds: as fast as can be.
  Pacer(double seconds, int64_t total)
      : start_(absl::Now()),
        step_(seconds > 0 && total > 0 ? absl::Seconds(seconds) / static_cast<double>(total)
                                       : absl::ZeroDuration()) {}
  // Before rating `index`, from 0. After a delay it catches up.
  void Wait(int64_t index) const {
    if (step_ == absl::ZeroDuration()) return;
    const absl::Duration left = start_ + static_cast<double>(index) * step_ - absl::Now();
    if (left > absl::ZeroDuration()) absl::SleepFor(left);
  }

 private:
  const absl::Time start_;
  const absl::Duration step_;
};

class ImportCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "import",
        .arguments = "FILE",
        .summary = "stream a file of ratings into the model",
        .help =
            R"(Streams ratings from a file, or from standard input for "-", into the model: ratings.csv (with a header
or plain user,item,rating[,time]), ratings.dat (user::item::rating::time) and u.data (tabs) of MovieLens, and
what looks like them.

  factorctl import ratings.csv
  factorctl import ml-1m/ratings.dat --sort_by_time
  factorctl import ratings.csv --sort_by_time --pace_seconds 60     # a minute of live learning
  zcat ratings.csv.gz | factorctl import - --producer ratings-2024
  factorctl import ratings.csv --sort_by_time --min_rating 4 --event_type click   # a server with --event_types=click

Each rating is applied exactly once, though the connection breaks or the server restarts on the way, and
though this command is run again: the server remembers, for each producer, how far it got. The producer is
made from the content of the file unless --producer names one. So the same file goes on where it stopped, a
changed file is new, and standard input, which cannot be known in advance, is new every time without
--producer. A producer that you name must stand for one input: what it sends under a number that it
has used before is taken for sent.

A file is checked before anything is sent: more malformed lines than --max_errors, and the import fails, naming file
and line, with nothing sent. From standard input, what comes before the malformed line has been applied then.
Ratings that the server rejects (out of range, or at a limit such as --max_users) count as errors, too. They are settled
by that: the same command does not send them again. --rejected=FILE writes those that met a limit to a file that can be
imported when it has been raised (but one that was rejected just as the connection broke counts as applied).
)",
        .min_arguments = 1,
        .max_arguments = 1};
  }

  void AddFlags(FlagSet* flags) override {
    flags->Add("format", &format_, "auto|csv|dat|tab", "how the file is written; dat: \"::\"");
    flags->Add("producer", &producer_, "ID", "1 to 64 bytes; without it made from the content");
    flags->Add("max_errors", &max_errors_, "N", "malformed or rejected ratings to pass over");
    flags->Add("rejected", &rejected_path_, "FILE",
               "write the ratings that a limit of the server rejects to this new file");
    flags->Add("sort_by_time", &source_.sort_by_time, "oldest first (in memory)");
    flags->Add("pace_seconds", &pace_seconds_, "SECONDS", "spread the ratings over this time");
    flags->Add("min_rating", &source_.min_rating, "R", "leave out ratings below");
    flags->Add("max_rating", &source_.max_rating, "R", "leave out ratings above");
    flags->Add("event_type", &source_.event_type, "NAME",
               "send events of this type, without the ratings");
    flags->Add("limit", &source_.limit, "N", "at most so many ratings");
    flags->Add("progress", &progress_, "auto|always|never", "auto: on a terminal");
    flags->Add("give_up_seconds", &give_up_seconds_, "SECONDS",
               "how long to try to reconnect without progress");
  }

  absl::Status Run(const std::vector<std::string>& arguments, Context& context) override {
    source_.path = arguments[0];
    FACTORD_RETURN_IF_ERROR(CheckFlags());
    StatusLine line(context.err(), context.err_is_terminal());
    ErrorBudget errors(max_errors_, &line);
    absl::StatusOr<std::unique_ptr<ImportSource>> source = ImportSource::Open(source_, &errors);
    if (!source.ok()) {
      return absl::Status(source.status().code(),
                          absl::StrCat(source.status().message(), "; nothing was sent"));
    }
    if (pace_seconds_ > 0 && !(*source)->total().has_value()) {
      return UsageError("--pace_seconds needs a file, to know how many ratings there are");
    }
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    RatingCsvFile rejected;
    if (!rejected_path_.empty()) FACTORD_RETURN_IF_ERROR(rejected.Create(rejected_path_));
    Summary summary;
    summary.path = source_.path;
    summary.producer = Producer(**source);
    const absl::Time start = absl::Now();
    absl::Status status = Send(**source, *client, context, line, errors, &rejected, &summary);
    status.Update(rejected.Close());
    summary.seconds = absl::ToDoubleSeconds(absl::Now() - start);
    summary.malformed = (*source)->malformed();
    summary.filtered = (*source)->filtered();
    summary.complete = status.ok();
    summary.error = ModelError(*client, context.model());
    context.out() << (context.json() ? AsJson(summary) : AsText(summary));
    return status;
  }

 private:
  absl::Status CheckFlags() {
    auto format = ParseRatingFormat(format_);
    if (!format.ok()) return UsageError(format.status().message());
    source_.format = *format;
    if (progress_ != "auto" && progress_ != "always" && progress_ != "never") {
      return UsageError("--progress must be auto, always or never");
    }
    if (max_errors_ < 0) return UsageError("--max_errors must not be negative");
    if (!(pace_seconds_ >= 0)) return UsageError("--pace_seconds must not be negative");
    if (!(give_up_seconds_ >= 0)) return UsageError("--give_up_seconds must not be negative");
    if (source_.limit.has_value() && *source_.limit < 0) {
      return UsageError("--limit must not be negative");
    }
    return absl::OkStatus();
  }

  std::string Producer(const ImportSource& source) const {
    if (!producer_.empty()) return producer_;
    return absl::StrCat("import-",
                        source.fingerprint().empty() ? RandomHex128() : source.fingerprint());
  }

  // Sends everything, and fills in what the stream counted, also after an error.
  absl::Status Send(ImportSource& source, Client& client, Context& context, StatusLine& line,
                    ErrorBudget& errors, RatingCsvFile* rejected, Summary* summary) {
    RatingStream::Options options;
    options.model = context.model();
    options.producer_id = summary->producer;
    options.give_up_after =
        std::chrono::milliseconds(static_cast<int64_t>(give_up_seconds_ * 1'000));
    options.on_rejected = [&](int64_t number, const v1::Rating& rating, const absl::Status& why) {
      if (absl::IsResourceExhausted(why)) rejected->Add(rating);
      (void)errors.Note(absl::Status(
          why.code(), absl::StrCat(source_.path, source_.sort_by_time ? ": rating " : ":", number,
                                   ": rejected by the server (user ", rating.user_id(), ", item ",
                                   rating.item_id(), "): ", why.message())));
    };
    FACTORD_ASSIGN_OR_RETURN(const std::unique_ptr<RatingStream> stream,
                             client.StreamRatings(options));
    std::optional<Progress> progress;
    if (progress_ == "always" || (progress_ == "auto" && line.is_terminal())) {
      progress.emplace(&line, stream.get(), &client, context.model(), source.total());
    }
    absl::Status status = WriteAll(source, *stream, errors);
    // Also after an error: what was read before it is to be settled.
    status.Update(stream->Close());
    status.Update(errors.status());
    if (progress.has_value()) progress->Stop();
    summary->stats = stream->stats();
    return status;
  }

  absl::Status WriteAll(ImportSource& source, RatingStream& stream, const ErrorBudget& errors) {
    const Pacer pacer(pace_seconds_, source.total().value_or(0));
    int64_t number = 0;
    v1::Rating rating;
    for (int64_t index = 0;; ++index) {
      FACTORD_ASSIGN_OR_RETURN(const bool more, source.Next(&number, &rating));
      if (!more) return absl::OkStatus();
      // What the server has from an earlier run needs no pace.
      if (number > stream.stats().last_acknowledged_number) pacer.Wait(index);
      FACTORD_RETURN_IF_ERROR(stream.Write(number, std::move(rating)));
      FACTORD_RETURN_IF_ERROR(errors.status());
    }
  }

  static std::optional<v1::PrequentialError> ModelError(Client& client, const std::string& model) {
    v1::GetModelRequest request;
    request.set_model(model);
    auto response = client.GetModel(request, absl::Seconds(2));
    if (!response.ok()) return std::nullopt;
    return response->prequential_error();
  }

  ImportSource::Options source_;
  std::string format_ = "auto";
  std::string producer_;
  std::string rejected_path_;
  int64_t max_errors_ = 0;
  double pace_seconds_ = 0;
  std::string progress_ = "auto";
  double give_up_seconds_ = 60;
};

}  // namespace

std::unique_ptr<Command> NewImportCommand() { return std::make_unique<ImportCommand>(); }

}  // namespace factord
