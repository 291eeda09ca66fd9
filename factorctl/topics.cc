#include "absl/strings/str_format.h"
#include "factorctl/commands.h"
#include "factorctl/json.h"
#include "factorctl/table.h"

namespace factord {
namespace {

class TopicsCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "topics",
        .arguments = "",
        .summary = "the items that stand for each factor",
        .help =
            R"(Lists, for each factor of the model, the items with its largest values: the topics that the model has
found.

  factorctl topics --titles data/ml-latest-small/movies.csv
  factorctl topics -k 5 --min_ratings 50      # leave out what few have rated
)"};
  }

  void AddFlags(FlagSet* flags) override {
    flags->Add("items_per_topic", &items_per_topic_, "N", "how many items a topic; without it 10");
    flags->Alias("k", "items_per_topic");
    flags->Add("min_ratings", &min_ratings_, "N", "leave out items with fewer ratings");
    titles_.AddTo(flags);
  }

  absl::Status Run(const std::vector<std::string>&, Context& context) override {
    v1::ListTopicsRequest request;
    request.set_model(context.model());
    if (items_per_topic_.has_value()) {
      FACTORD_ASSIGN_OR_RETURN(const int32_t items,
                               ToInt32("--items_per_topic", *items_per_topic_));
      request.set_items_per_topic(items);
    }
    request.set_min_ratings(min_ratings_);
    FACTORD_RETURN_IF_ERROR(titles_.Read());
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    FACTORD_ASSIGN_OR_RETURN(const v1::ListTopicsResponse response,
                             client->ListTopics(request, context.timeout()));
    context.out() << (context.json() ? AsJson(response) : AsTables(response));
    return absl::OkStatus();
  }

 private:
  std::string AsJson(const v1::ListTopicsResponse& response) const {
    Json json = ToJson(response);
    if (titles_.given()) {
      for (Json& topic : json["topics"]) {
        for (Json& item : topic["items"]) {
          item["title"] = titles_.Title(item["item_id"].get<std::string>());
        }
      }
    }
    return Dump(json) + "\n";
  }

  std::string AsTables(const v1::ListTopicsResponse& response) const {
    std::string text;
    for (const v1::Topic& topic : response.topics()) {
      Table table({{"weight", Table::kRight},
                   {"ratings", Table::kRight},
                   {titles_.given() ? "title" : "item"}});
      for (const v1::TopicItem& item : topic.items()) {
        table.AddRow({absl::StrFormat("%.3f", item.weight()), WithCommas(item.ratings()),
                      titles_.TitleOrId(item.item_id())});
      }
      absl::StrAppend(&text, text.empty() ? "" : "\n", "Topic ", topic.factor(), "\n",
                      table.ToString());
    }
    return text;
  }

  std::optional<int64_t> items_per_topic_;
  int64_t min_ratings_ = 0;
  TitleFlag titles_;
};

}  // namespace

std::unique_ptr<Command> NewTopicsCommand() { return std::make_unique<TopicsCommand>(); }

}  // namespace factord
