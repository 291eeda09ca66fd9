#include <chrono>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "factorctl/commands.h"
#include "factorctl/flag_set.h"
#include "factorctl/json.h"
#include "factorctl/status_line.h"
#include "factorctl/table.h"

namespace factord {
namespace {

using v1::PassesProgress;

std::string ErrorText(const v1::HistoryError& error) {
  if (error.ratings() == 0) return "no ratings";
  return absl::StrFormat("MAE %.4f, RMSE %.4f, of %s ratings", error.mae(), error.rmse(),
                         WithCommas(error.ratings()));
}

std::string DoneText(const PassesProgress& progress) {
  if (progress.events_total() == 0) {
    return progress.state() == PassesProgress::STATE_RUNNING ? "measuring the error before"
                                                             : "nothing: there is no rating";
  }
  return absl::StrFormat("%s of %s events (%.0f%%)", WithCommas(progress.events_done()),
                         WithCommas(progress.events_total()),
                         100 * static_cast<double>(progress.events_done()) /
                             static_cast<double>(progress.events_total()));
}

std::string StateText(const PassesProgress& progress) {
  switch (progress.state()) {
    case PassesProgress::STATE_RUNNING:
      return "under way";
    case PassesProgress::STATE_DONE:
      return "done";
    case PassesProgress::STATE_STOPPED:
      return "stopped";
    case PassesProgress::STATE_FAILED:
      return "failed: " + progress.failure();
    default:
      return "none since the start of the server";
  }
}

std::string AsText(const PassesProgress& progress) {
  std::vector<std::pair<std::string, std::string>> lines = {{"passes", StateText(progress)}};
  if (progress.state() != PassesProgress::STATE_UNSPECIFIED) {
    lines.emplace_back("asked for", absl::StrCat(progress.passes()));
    lines.emplace_back("learned again", DoneText(progress));
  }
  if (progress.has_before()) lines.emplace_back("error before", ErrorText(progress.before()));
  if (progress.has_after()) lines.emplace_back("error after", ErrorText(progress.after()));
  return NamedValues(lines);
}

class PassesCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "passes",
        .arguments = "[N]",
        .summary = "learn all ratings again, N times, in the background",
        .help =
            R"(Goes over the ratings of all users' histories once more, N times (1 to 100; some five are enough), while
the server goes on: ratings are predicted better afterwards. Waits and shows how far it is; ended by Ctrl-C,
the passes go on without it. Without N, shows how far the last ones have come.

  factorctl passes 5
  factorctl passes --stop

The errors before and after are of ratings that were learned, so they are smaller than on new ones; "factorctl
state" shows the error on new ones as they come in.
)",
        .min_arguments = 0,
        .max_arguments = 1};
  }

  void AddFlags(FlagSet* flags) override {
    flags->Add("stop", &stop_, "end the passes that are under way");
    flags->Add("detach", &detach_, "begin and do not wait");
  }

  absl::Status Run(const std::vector<std::string>& arguments, Context& context) override {
    if (stop_ && !arguments.empty()) return UsageError("give N or --stop");
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    if (stop_) {
      v1::StopPassesRequest request;
      request.set_model(context.model());
      FACTORD_ASSIGN_OR_RETURN(const auto response, client->StopPasses(request, context.timeout()));
      return Print(response.progress(), context);
    }
    if (!arguments.empty()) {
      v1::StartPassesRequest request;
      request.set_model(context.model());
      int32_t passes = 0;
      if (!absl::SimpleAtoi(arguments[0], &passes)) {
        return UsageError(absl::StrCat("N must be a whole number, is '", arguments[0], "'"));
      }
      request.set_passes(passes);
      FACTORD_RETURN_IF_ERROR(client->StartPasses(request, context.timeout()).status());
      if (!detach_) FACTORD_RETURN_IF_ERROR(Wait(client, context));
    }
    FACTORD_ASSIGN_OR_RETURN(const PassesProgress progress, Look(client, context));
    return Print(progress, context);
  }

 private:
  static absl::StatusOr<PassesProgress> Look(Client* client, Context& context) {
    v1::GetPassesRequest request;
    request.set_model(context.model());
    FACTORD_ASSIGN_OR_RETURN(const auto response, client->GetPasses(request, context.timeout()));
    return response.progress();
  }

  static absl::Status Wait(Client* client, Context& context) {
    StatusLine line(context.err(), context.err_is_terminal());
    while (true) {
      FACTORD_ASSIGN_OR_RETURN(const PassesProgress progress, Look(client, context));
      if (line.is_terminal()) line.Show(DoneText(progress));
      if (progress.state() != PassesProgress::STATE_RUNNING) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    if (line.is_terminal()) line.Finish();
    return absl::OkStatus();
  }

  static absl::Status Print(const PassesProgress& progress, Context& context) {
    context.out() << (context.json() ? Dump(ToJson(progress)) + "\n" : AsText(progress));
    if (progress.state() != PassesProgress::STATE_FAILED) return absl::OkStatus();
    return absl::AbortedError(progress.failure());
  }

  bool stop_ = false;
  bool detach_ = false;
};

}  // namespace

std::unique_ptr<Command> NewPassesCommand() { return std::make_unique<PassesCommand>(); }

}  // namespace factord
