#include <cmath>

#include "absl/strings/numbers.h"
#include "factorctl/commands.h"
#include "factorctl/json.h"

namespace factord {
namespace {

class RateCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "rate",
        .arguments = "USER ITEM [RATING]",
        .summary = "record one rating, or another event",
        .help =
            R"(Records one rating. When it returns, the rating is durable, and every later answer reflects it.

  factorctl rate alice "The Matrix" 4.5
  factorctl rate alice "The Matrix" 4 --event_id order-1729   # safe to run twice
  factorctl rate alice "The Matrix" --event_type click        # of a server with --event_types=click

Ids are any text of 1 to 256 bytes; a user or item that was never seen is created.
)",
        .min_arguments = 2,
        .max_arguments = 3};
  }

  void AddFlags(FlagSet* flags) override {
    flags->Add("event_type", &event_type_, "NAME", "no rating, but an event of this type");
    flags->Add("time", &time_, "SECONDS", "when it was given, since 1970; without it now");
    flags->Add("event_id", &event_id_, "ID", "the same id again is answered as a duplicate");
    flags->Add("recommendation_id", &recommendation_id_, "ID", "what led to this rating");
  }

  absl::Status Run(const std::vector<std::string>& arguments, Context& context) override {
    v1::RecordRatingsRequest request;
    request.set_model(context.model());
    v1::Rating* const event = request.add_events();
    event->set_user_id(arguments[0]);
    event->set_item_id(arguments[1]);
    const bool has_rating = arguments.size() > 2;
    if (has_rating != event_type_.empty()) return UsageError("give RATING or --event_type");
    if (has_rating) {
      FACTORD_ASSIGN_OR_RETURN(const double rating, ParseNumber("RATING", arguments[2]));
      event->set_rating(static_cast<float>(rating));
    }
    event->set_event_type(event_type_);
    event->set_event_id(event_id_);
    event->set_recommendation_id(recommendation_id_);
    if (time_.has_value()) {
      const double seconds = std::floor(*time_);
      event->mutable_event_time()->set_seconds(static_cast<int64_t>(seconds));
      event->mutable_event_time()->set_nanos(static_cast<int32_t>((*time_ - seconds) * 1e9));
    }
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    FACTORD_ASSIGN_OR_RETURN(const v1::RecordRatingsResponse response,
                             client->RecordRatings(request, context.timeout()));
    if (context.json()) {
      context.out() << Dump(ToJson(response)) << "\n";
      return absl::OkStatus();
    }
    const bool duplicate = response.results_size() == 1 &&
                           response.results(0).outcome() == v1::RatingResult::OUTCOME_DUPLICATE;
    context.out() << (duplicate ? "recorded before, as sequence " : "recorded as sequence ")
                  << response.last_sequence() << "\n";
    return absl::OkStatus();
  }

 private:
  std::optional<double> time_;
  std::string event_type_;
  std::string event_id_;
  std::string recommendation_id_;
};

}  // namespace

std::unique_ptr<Command> NewRateCommand() { return std::make_unique<RateCommand>(); }

}  // namespace factord
