#include <limits>

#include "absl/strings/str_format.h"
#include "factorctl/commands.h"
#include "factorctl/json.h"

namespace factord {
namespace {

class FactorsCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "factors",
        .arguments = "items|users",
        .summary = "the rows of factors, one a line",
        .help =
            R"(Prints the rows of factors of all items, from one view of the model, or of all users, each as it is
when it is read: id, number of ratings, bias, factors, with tabs between them. What recommendations are
ranked by is in --json: ranking_factors and ranking_bias (docs/algorithm.md).

  factorctl factors items > items.tsv
  factorctl factors users --limit 3 --json
)",
        .min_arguments = 1,
        .max_arguments = 1};
  }

  void AddFlags(FlagSet* flags) override {
    flags->Add("limit", &limit_, "N", "at most so many rows");
  }

  absl::Status Run(const std::vector<std::string>& arguments, Context& context) override {
    v1::GetFactorsRequest request;
    request.set_model(context.model());
    if (arguments[0] == "items") {
      request.set_side(v1::GetFactorsRequest::SIDE_ITEMS);
    } else if (arguments[0] == "users") {
      request.set_side(v1::GetFactorsRequest::SIDE_USERS);
    } else {
      return UsageError(absl::StrCat("'", arguments[0], "' must be items or users"));
    }
    int64_t left = limit_.value_or(std::numeric_limits<int64_t>::max());
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    while (left > 0 && context.out().good()) {
      FACTORD_ASSIGN_OR_RETURN(const v1::GetFactorsResponse page,
                               client->GetFactors(request, context.timeout()));
      for (const v1::FactorRow& row : page.rows()) {
        if (left-- <= 0) break;
        context.out() << (context.json() ? Dump(ToJson(row)) : AsLine(row)) << "\n";
      }
      if (page.next_page_token().empty()) break;
      request.set_page_token(page.next_page_token());
      request.set_view_token(page.view_token());
    }
    return absl::OkStatus();
  }

 private:
  static std::string AsLine(const v1::FactorRow& row) {
    std::string line = absl::StrFormat("%s\t%d\t%.9g", row.id(), row.ratings(), row.bias());
    // Nine digits give every float back.
    for (const float factor : row.factors()) absl::StrAppendFormat(&line, "\t%.9g", factor);
    return line;
  }

  std::optional<int64_t> limit_;
};

}  // namespace

std::unique_ptr<Command> NewFactorsCommand() { return std::make_unique<FactorsCommand>(); }

}  // namespace factord
