#include <algorithm>

#include "absl/time/clock.h"
#include "factorctl/commands.h"
#include "factorctl/json.h"
#include "factorctl/table.h"

namespace factord {
namespace {

using grpc::health::v1::HealthCheckResponse;

constexpr absl::Duration kPollInterval = absl::Milliseconds(100);

class HealthCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "health",
        .arguments = "",
        .summary = "whether the server serves",
        .help =
            R"(Asks the server for its health; exits with 0 if it serves, else with 1. Without --service it asks for
reads, writes and the process itself, and all must be well.

  factorctl health --wait 30 && echo ready
  factorctl health --service factord.v1.RatingService       # writes only
  factorctl health --service factord.v1.RecommendationService --json
)"};
  }

  void AddFlags(FlagSet* flags) override {
    flags->Add("service", &service_, "NAME",
               "factord.v1.RecommendationService, factord.v1.RatingService or liveness");
    flags->Add("wait", &wait_, "SECONDS", "how long to wait until it serves");
  }

  absl::Status Run(const std::vector<std::string>&, Context& context) override {
    if (service_.empty()) {
      checks_ = {{"reads", "factord.v1.RecommendationService", ""},
                 {"writes", "factord.v1.RatingService", ""},
                 {"process", "liveness", ""}};
    } else {
      checks_ = {{service_, service_, ""}};
    }
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    const absl::Time deadline = absl::Now() + absl::Seconds(wait_);
    absl::Status status = CheckAll(*client, context.timeout());
    if (!status.ok() && !absl::IsNotFound(status) && absl::Now() < deadline) {
      context.err() << "waiting up to " << wait_ << " s for " << context.server()
                    << " to serve: " << absl::StatusCodeToString(status.code()) << ": "
                    << status.message() << "\n";
    }
    while (!status.ok() && !absl::IsNotFound(status) && absl::Now() < deadline) {
      client->WaitOrConnect(std::min(absl::Now() + kPollInterval, deadline));
      status = CheckAll(*client, context.timeout());
    }
    Print(context);
    return status;
  }

 private:
  struct Check {
    std::string label;
    std::string service;
    std::string answer;  // "SERVING", or what else was learned
  };

  // OK if everything serves; otherwise why not.
  absl::Status CheckAll(Client& client, absl::Duration timeout) {
    absl::Status worst;
    for (Check& check : checks_) {
      const auto response = client.CheckHealth(check.service, timeout);
      absl::Status status = response.status();
      if (!status.ok()) {
        check.answer = absl::StatusCodeToString(status.code());
      } else {
        check.answer = HealthCheckResponse::ServingStatus_Name(response->status());
        if (response->status() != HealthCheckResponse::SERVING) {
          status = absl::UnavailableError(absl::StrCat(check.label, ": ", check.answer));
        }
      }
      worst.Update(status);
    }
    return worst;
  }

  void Print(Context& context) const {
    if (context.json()) {
      Json json = Json::object();
      for (const Check& check : checks_) json[check.label] = check.answer;
      context.out() << Dump(json) << "\n";
      return;
    }
    std::vector<std::pair<std::string, std::string>> lines;
    for (const Check& check : checks_) lines.emplace_back(check.label, check.answer);
    context.out() << NamedValues(lines);
  }

  std::string service_;
  double wait_ = 0;
  std::vector<Check> checks_;
};

}  // namespace

std::unique_ptr<Command> NewHealthCommand() { return std::make_unique<HealthCommand>(); }

}  // namespace factord
