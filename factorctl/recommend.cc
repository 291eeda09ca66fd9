#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "factorctl/commands.h"
#include "factorctl/json.h"
#include "factorctl/table.h"

namespace factord {
namespace {

class RecommendCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "recommend",
        .arguments = "USER",
        .summary = "the best items for a user",
        .help =
            R"(Lists the items with the highest scores for a user, best first, without those that the user has
rated. The answer is exact, and reflects every rating recorded before. For an unknown user it lists the
items with the most ratings.

  factorctl recommend alice
  factorctl recommend 15 -k 20 --titles data/ml-latest-small/movies.csv
  factorctl recommend 15 --include_rated --json
)",
        .min_arguments = 1,
        .max_arguments = 1};
  }

  void AddFlags(FlagSet* flags) override {
    flags->Add("max_items", &max_items_, "N", "how many items; without it 10");
    flags->Alias("k", "max_items");
    titles_.AddTo(flags);
    flags->Add("include_rated", &include_rated_, "do not leave out what the user has rated");
    flags->Add("deny", &deny_, "ID,ID,...", "items to leave out");
    flags->Add("strict", &strict_, "fail for an unknown user");
    flags->Add("min_sequence", &min_sequence_, "N", "wait until this sequence is visible");
  }

  absl::Status Run(const std::vector<std::string>& arguments, Context& context) override {
    v1::RecommendItemsRequest request;
    request.set_model(context.model());
    request.set_user_id(arguments[0]);
    if (max_items_.has_value()) {
      FACTORD_ASSIGN_OR_RETURN(const int32_t max_items, ToInt32("--max_items", *max_items_));
      request.set_max_items(max_items);
    }
    if (include_rated_) request.set_exclude_rated(false);
    for (const absl::string_view id : absl::StrSplit(deny_, ',', absl::SkipEmpty())) {
      request.add_deny_item_ids(std::string(id));
    }
    request.set_strict(strict_);
    request.set_min_sequence(min_sequence_);
    FACTORD_RETURN_IF_ERROR(titles_.Read());
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    FACTORD_ASSIGN_OR_RETURN(const v1::RecommendItemsResponse response,
                             client->RecommendItems(request, context.timeout()));
    context.out() << (context.json() ? AsJson(response) : AsTable(response));
    return absl::OkStatus();
  }

 private:
  std::string AsJson(const v1::RecommendItemsResponse& response) const {
    Json json = ToJson(response);
    if (titles_.given()) {
      for (Json& item : json["items"]) {
        item["title"] = titles_.Title(item["item_id"].get<std::string>());
      }
    }
    return Dump(json) + "\n";
  }

  std::string AsTable(const v1::RecommendItemsResponse& response) const {
    if (response.items().empty()) return "nothing to recommend\n";
    std::vector<Table::Column> columns = {
        {"", Table::kRight},
        {response.cold_start() ? "ratings" : "score", Table::kRight},
        {"item"}};
    if (titles_.given()) columns.push_back({"title"});
    Table table(std::move(columns));
    int place = 0;
    for (const v1::ScoredItem& item : response.items()) {
      std::vector<std::string> cells = {
          absl::StrCat(++place),
          absl::StrFormat("%.*f", response.cold_start() ? 0 : 3, item.score()), item.item_id()};
      if (titles_.given()) cells.push_back(titles_.Title(item.item_id()));
      table.AddRow(std::move(cells));
    }
    return absl::StrCat(
        response.cold_start() ? "The user is unknown; these items have the most events.\n" : "",
        table.ToString());
  }

  std::optional<int64_t> max_items_;
  TitleFlag titles_;
  bool include_rated_ = false;
  std::string deny_;
  bool strict_ = false;
  int64_t min_sequence_ = 0;
};

}  // namespace

std::unique_ptr<Command> NewRecommendCommand() { return std::make_unique<RecommendCommand>(); }

}  // namespace factord
