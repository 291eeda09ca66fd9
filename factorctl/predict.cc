#include <limits>

#include "absl/strings/str_format.h"
#include "factorctl/commands.h"
#include "factorctl/json.h"
#include "factorctl/table.h"

namespace factord {
namespace {

class PredictCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "predict",
        .arguments = "USER ITEM...",
        .summary = "the ratings that a user would give",
        .help =
            R"(Predicts what a user would rate each of some items, within the model's range of ratings.

  factorctl predict alice "The Matrix" Casablanca
  factorctl predict 15 260 318 --titles data/ml-latest-small/movies.csv
)",
        .min_arguments = 2,
        .max_arguments = std::numeric_limits<size_t>::max()};
  }

  void AddFlags(FlagSet* flags) override {
    titles_.AddTo(flags);
    flags->Add("strict", &strict_, "fail for an unknown user or item");
    flags->Add("min_sequence", &min_sequence_, "N", "wait until this sequence is visible");
  }

  absl::Status Run(const std::vector<std::string>& arguments, Context& context) override {
    v1::PredictRatingsRequest request;
    request.set_model(context.model());
    for (size_t i = 1; i < arguments.size(); ++i) {
      v1::UserItemPair* const pair = request.add_pairs();
      pair->set_user_id(arguments[0]);
      pair->set_item_id(arguments[i]);
    }
    request.set_strict(strict_);
    request.set_min_sequence(min_sequence_);
    FACTORD_RETURN_IF_ERROR(titles_.Read());
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    FACTORD_ASSIGN_OR_RETURN(const v1::PredictRatingsResponse response,
                             client->PredictRatings(request, context.timeout()));
    if (response.predictions_size() != request.pairs_size()) {
      return absl::InternalError("the server answered another number of predictions");
    }
    context.out() << (context.json() ? AsJson(request, response) : AsTable(request, response));
    return absl::OkStatus();
  }

 private:
  // The answer alone would leave open which prediction is whose.
  std::string AsJson(const v1::PredictRatingsRequest& request,
                     const v1::PredictRatingsResponse& response) const {
    Json json = ToJson(response);
    for (int i = 0; i < request.pairs_size(); ++i) {
      const v1::UserItemPair& pair = request.pairs(i);
      Json& prediction = json["predictions"][static_cast<size_t>(i)];
      prediction["user_id"] = pair.user_id();
      prediction["item_id"] = pair.item_id();
      if (titles_.given()) prediction["title"] = titles_.Title(pair.item_id());
    }
    return Dump(json) + "\n";
  }

  std::string AsTable(const v1::PredictRatingsRequest& request,
                      const v1::PredictRatingsResponse& response) const {
    std::vector<Table::Column> columns = {{"rating", Table::kRight}, {"item"}};
    if (titles_.given()) columns.push_back({"title"});
    columns.push_back({""});
    Table table(std::move(columns));
    for (int i = 0; i < request.pairs_size(); ++i) {
      const v1::Prediction& prediction = response.predictions(i);
      const std::string& item = request.pairs(i).item_id();
      std::vector<std::string> cells = {absl::StrFormat("%.3f", prediction.rating()), item};
      if (titles_.given()) cells.push_back(titles_.Title(item));
      cells.push_back(prediction.cold_start() ? "(user or item unknown)" : "");
      table.AddRow(std::move(cells));
    }
    return table.ToString();
  }

  TitleFlag titles_;
  bool strict_ = false;
  int64_t min_sequence_ = 0;
};

}  // namespace

std::unique_ptr<Command> NewPredictCommand() { return std::make_unique<PredictCommand>(); }

}  // namespace factord
