#include "absl/time/time.h"
#include "factorctl/commands.h"
#include "factorctl/json.h"
#include "factorctl/rating_csv.h"
#include "model/config.h"
#include "storage/store.h"

namespace factord {
namespace {

std::string Rfc3339(int64_t micros) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", absl::FromUnixMicros(micros),
                          absl::UTCTimeZone());
}

// Of kTaken.
std::string TypeName(const Event& event, const ModelConfig& config) {
  return event.type < config.event_types.size() ? config.event_types[event.type].name
                                                : absl::StrCat("type ", event.type);
}

std::string AsCsv(const Event& event) {
  return absl::StrCat(event.sequence, ",",
                      RatingAsCsv(event.user_id, event.item_id, event.rating, event.time_micros));
}

std::string RevisitText(const Event& event) {
  const RevisitedPart& part = event.revisited;
  return absl::StrCat(event.sequence, "\tpass ", part.pass, " over the histories of ", part.users,
                      " users from user number ", part.first_user, " on, from position ",
                      part.position, "\t", Rfc3339(event.time_micros));
}

std::string AsText(const Event& event, const ModelConfig& config) {
  if (event.kind == EventKind::kRevisit) return RevisitText(event);
  std::string line = absl::StrCat(event.sequence, "\t", event.user_id, "\t", event.item_id, "\t");
  if (event.kind == EventKind::kTaken) {
    absl::StrAppend(&line, TypeName(event, config));
  } else {
    absl::StrAppend(&line, event.rating);
  }
  absl::StrAppend(&line, "\t", Rfc3339(event.time_micros));
  if (!event.event_id.empty()) absl::StrAppend(&line, "\tevent_id=", event.event_id);
  if (!event.producer_id.empty()) {
    absl::StrAppend(&line, "\tproducer=", event.producer_id, ":", event.producer_number);
  }
  if (!event.recommendation_id.empty()) {
    absl::StrAppend(&line, "\trecommendation_id=", event.recommendation_id);
  }
  return line;
}

std::string AsJson(const Event& event, const ModelConfig& config) {
  Json json;
  json["sequence"] = event.sequence;
  if (event.kind == EventKind::kRevisit) {
    const RevisitedPart& part = event.revisited;
    json["revisited"] = {{"first_user", part.first_user},
                         {"users", part.users},
                         {"position", part.position},
                         {"pass", part.pass}};
    json["event_time"] = Rfc3339(event.time_micros);
    return Dump(json);
  }
  json["user_id"] = std::string(event.user_id);
  json["item_id"] = std::string(event.item_id);
  if (event.kind == EventKind::kTaken) {
    json["event_type"] = TypeName(event, config);
  } else {
    json["rating"] = FloatToJson(event.rating);
  }
  json["event_time"] = Rfc3339(event.time_micros);
  json["time_is_servers"] = event.time_is_servers;
  json["event_id"] = std::string(event.event_id);
  json["recommendation_id"] = std::string(event.recommendation_id);
  json["producer_id"] = std::string(event.producer_id);
  json["producer_number"] = event.producer_number;
  return Dump(json);
}

class LogCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "log",
        .arguments = "DIR",
        .summary = "print the event log of a data folder (offline)",
        .help =
            R"(Prints the events in the log of a data folder, one a line, in the order in which they were applied:
sequence, user, item, rating (or the event's type), time, and what else is known, with tabs between them. The
folder must not be in use. With the server's default --log_retention the log begins behind the last snapshot, so that
of a backup, or of a server that was stopped, is empty.

  factorctl log /var/lib/factord/data --from 1000 --to 1009
  factorctl log /var/lib/factord/data --csv > ratings.csv      # "factorctl import" reads it
)",
        .min_arguments = 1,
        .max_arguments = 1,
        .offline = true};
  }

  void AddFlags(FlagSet* flags) override {
    flags->Add("from", &from_, "SEQUENCE", "the first to print; without it the first in the log");
    flags->Add("to", &to_, "SEQUENCE", "the last to print; without it the last in the log");
    flags->Add("csv", &csv_,
               "print the ratings as CSV: sequence,user,item,rating,timestamp (seconds)");
  }

  absl::Status Run(const std::vector<std::string>& arguments, Context& context) override {
    if (csv_ && context.json()) return UsageError("--csv and --json exclude each other");
    FACTORD_ASSIGN_OR_RETURN(const std::unique_ptr<Store> store,
                             Store::Open({.path = arguments[0], .read_only = true}));
    const LogRange range = store->log()->range();
    const int64_t from = from_.value_or(range.first);
    const int64_t to = to_.value_or(range.last);
    FACTORD_ASSIGN_OR_RETURN(const ModelConfig config, FromFields(store->config()));
    if (csv_) context.out() << "sequence,user,item,rating,timestamp\n";
    if (!from_.has_value() && range.empty()) {
      context.err() << "the log is empty: "
                    << (range.last == 0
                            ? "nothing was ever recorded"
                            : absl::StrCat("the snapshot has all events up to sequence ",
                                           range.last,
                                           ", and only --log_retention=all keeps their log"))
                    << "\n";
      return absl::OkStatus();
    }
    FACTORD_ASSIGN_OR_RETURN(const std::unique_ptr<LogCursor> cursor, store->log()->ReadFrom(from));
    while (context.out().good()) {
      FACTORD_ASSIGN_OR_RETURN(const absl::Span<const Event> events, cursor->Next());
      if (events.empty()) break;
      for (const Event& event : events) {
        if (event.sequence > to) return absl::OkStatus();
        if (csv_ && event.kind != EventKind::kRating) continue;
        context.out() << (csv_             ? AsCsv(event)
                          : context.json() ? AsJson(event, config)
                                           : AsText(event, config))
                      << "\n";
      }
    }
    return absl::OkStatus();
  }

 private:
  std::optional<int64_t> from_;
  std::optional<int64_t> to_;
  bool csv_ = false;
};

}  // namespace

std::unique_ptr<Command> NewLogCommand() { return std::make_unique<LogCommand>(); }

}  // namespace factord
