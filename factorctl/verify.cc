#include "engine/verify.h"

#include "factorctl/commands.h"
#include "factorctl/json.h"
#include "factorctl/table.h"

namespace factord {
namespace {

class VerifyCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "verify",
        .arguments = "DIR",
        .summary = "replay a data folder's log and compare (offline)",
        .help =
            R"(Replays the whole log of a data folder from empty, through the same code as the server's, and compares
the outcome, by hash, with the stored snapshot and with what the last clean stop has written down. Writes
nothing. The folder must not be in use, and must come from a server with --log_retention=all.

  factorctl verify /var/lib/factord/data
)",
        .min_arguments = 1,
        .max_arguments = 1,
        .offline = true};
  }

  absl::Status Run(const std::vector<std::string>& arguments, Context& context) override {
    FACTORD_ASSIGN_OR_RETURN(const VerifyResult result, VerifyFolder(arguments[0]));
    if (context.json()) {
      Json json;
      json["events"] = result.events;
      json["hash"] = result.hash.ToHex();
      json["snapshot_sequence"] = result.snapshot_sequence;
      json["snapshot_hash"] = result.snapshot_hash.ToHex();
      context.out() << Dump(json) << "\n";
      return absl::OkStatus();
    }
    std::vector<std::pair<std::string, std::string>> values = {
        {"events", WithCommas(result.events)}, {"hash", result.hash.ToHex()}};
    if (result.snapshot_sequence > 0) {
      values.emplace_back("snapshot",
                          "agrees, at sequence " + WithCommas(result.snapshot_sequence));
    }
    values.emplace_back("verified", "the log gives the stored state");
    context.out() << NamedValues(values);
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<Command> NewVerifyCommand() { return std::make_unique<VerifyCommand>(); }

}  // namespace factord
