#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "factorctl/commands.h"
#include "factorctl/json.h"
#include "factorctl/table.h"

namespace factord {
namespace {

class StateCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "state",
        .arguments = "",
        .summary = "what the model holds, and how well it predicts",
        .help =
            R"(Shows the model's counts, its sequence (the number of events applied), its configuration, and its
prequential error: each rating against the prediction made just before it was learned.

  factorctl state
  factorctl state --json | jq .sequence
)"};
  }

  absl::Status Run(const std::vector<std::string>&, Context& context) override {
    v1::GetModelRequest request;
    request.set_model(context.model());
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    FACTORD_ASSIGN_OR_RETURN(const v1::GetModelResponse model,
                             client->GetModel(request, context.timeout()));
    context.out() << (context.json() ? Dump(ToJson(model)) + "\n" : AsText(model));
    return absl::OkStatus();
  }

 private:
  // As factord's flags call them.
  static std::string Method(const v1::ModelConfig& config) {
    if (config.variant() == v1::ModelConfig::VARIANT_ADAPTIVE) return "adaptive";
    const absl::string_view solver = v1::ModelConfig::Solver_Name(config.solver());
    return absl::StrCat(config.variant() == v1::ModelConfig::VARIANT_PA      ? "pa"
                        : config.variant() == v1::ModelConfig::VARIANT_PA_I  ? "pa-1"
                        : config.variant() == v1::ModelConfig::VARIANT_PA_II ? "pa-2"
                                                                             : "unknown",
                        ", ", absl::AsciiStrToLower(absl::StripPrefix(solver, "SOLVER_")));
  }

  static std::string EventTypesOf(const v1::ModelConfig& config) {
    if (config.event_types().empty()) return "none but ratings";
    return absl::StrJoin(config.event_types(), ", ", [](std::string* out, const auto& type) {
      absl::StrAppend(out, type.name(), " (value ", type.value(), ", weight ", type.weight(), ")");
    });
  }

  static std::string LogText(const v1::GetModelResponse& model) {
    if (model.log_start_sequence() > model.sequence()) return "empty";
    return absl::StrCat(WithCommas(model.log_start_sequence()), " to ",
                        WithCommas(model.sequence()));
  }

  static std::string ErrorText(const v1::PrequentialError& error) {
    if (error.events() == 0) return "no ratings yet";
    return absl::StrFormat("MAE %.4f, RMSE %.4f; lately MAE %.4f, RMSE %.4f", error.mae(),
                           error.rmse(), error.fading_mae(), error.fading_rmse());
  }

  static std::string AsText(const v1::GetModelResponse& model) {
    const v1::ModelConfig& config = model.config();
    return NamedValues(
        {{"sequence", WithCommas(model.sequence())},
         {"users", WithCommas(model.users())},
         {"items", WithCommas(model.items())},
         {"prequential error", ErrorText(model.prequential_error())},
         {"passive updates", WithCommas(model.passive_updates())},
         {"clipped updates", WithCommas(model.clipped_updates())},
         {"factors at 0", absl::StrFormat("users %.2f%%, items %.2f%%; dead coordinates %d",
                                          100 * model.factor_health().user_zeros(),
                                          100 * model.factor_health().item_zeros(),
                                          model.factor_health().dead_coordinates())},
         {"duplicates", WithCommas(model.duplicates()) + " since the start of the server"},
         {"log", LogText(model)},
         {"snapshot", model.snapshot_sequence() == 0
                          ? "none"
                          : "at sequence " + WithCommas(model.snapshot_sequence())},
         {"accepts writes", model.accepts_writes() ? "yes" : "no: the store failed; restart"},
         {"method", Method(config)},
         {"rank", absl::StrCat(config.rank())},
         {"ratings", absl::StrCat(config.min_rating(), " to ", config.max_rating())},
         {"aggressiveness", absl::StrCat(config.aggressiveness())},
         {"epsilon", absl::StrCat(config.epsilon())},
         {"initial rating", absl::StrCat(config.initial_rating())},
         {"offset", absl::StrCat(config.offset())},
         {"attraction", absl::StrCat(config.attraction())},
         {"replay", absl::StrCat(config.replay())},
         {"event types", EventTypesOf(config)},
         {"seed", absl::StrCat(config.seed())},
         {"dedupe window", WithCommas(config.dedupe_window())},
         {"update version", absl::StrCat(config.update_version())}});
  }
};

}  // namespace

std::unique_ptr<Command> NewStateCommand() { return std::make_unique<StateCommand>(); }

}  // namespace factord
