// hash, snapshot and backup.
#include "factorctl/commands.h"
#include "factorctl/json.h"
#include "factorctl/table.h"

namespace factord {
namespace {

// What the three have in common: print the answer.
void Print(Context& context, const google::protobuf::Message& response,
           const std::vector<std::pair<std::string, std::string>>& values) {
  context.out() << (context.json() ? Dump(ToJson(response)) + "\n" : NamedValues(values));
}

class HashCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "hash",
        .arguments = "",
        .summary = "the hash of the whole state",
        .help =
            R"(Computes the hash of everything that the model consists of. Two models are equal, bit for bit, if and
only if their hashes are. Writes pause meanwhile: about a second for a million rows.

  factorctl hash
)"};
  }

  absl::Status Run(const std::vector<std::string>&, Context& context) override {
    v1::ComputeHashRequest request;
    request.set_model(context.model());
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    FACTORD_ASSIGN_OR_RETURN(const auto response, client->ComputeHash(request, context.timeout()));
    Print(context, response,
          {{"hash", response.hash()}, {"sequence", WithCommas(response.sequence())}});
    return absl::OkStatus();
  }
};

class SnapshotCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "snapshot",
        .arguments = "",
        .summary = "write a snapshot now",
        .help =
            R"(Writes a snapshot of the model now, and trims the log below it unless the server runs with
--log_retention=all. Reads and writes go on meanwhile. The next start then replays only what comes after.

  factorctl snapshot
)"};
  }

  absl::Status Run(const std::vector<std::string>&, Context& context) override {
    v1::CreateSnapshotRequest request;
    request.set_model(context.model());
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    FACTORD_ASSIGN_OR_RETURN(const auto response,
                             client->CreateSnapshot(request, context.timeout()));
    Print(context, response,
          {{"sequence", WithCommas(response.sequence())},
           {"hash", response.hash()},
           {"rows written", WithCommas(response.rows_written())}});
    return absl::OkStatus();
  }
};

class BackupCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "backup",
        .arguments = "NAME",
        .summary = "copy the data folder, as it is at one sequence",
        .help =
            R"(Makes a complete data folder called NAME below the server's --backup_dir, while the server goes on.

  factorctl backup monday
  factord --data_dir=/backups/monday     # a server can be started from it
)",
        .min_arguments = 1,
        .max_arguments = 1};
  }

  absl::Status Run(const std::vector<std::string>& arguments, Context& context) override {
    v1::BackupRequest request;
    request.set_model(context.model());
    request.set_name(arguments[0]);
    FACTORD_ASSIGN_OR_RETURN(Client* const client, context.client());
    FACTORD_ASSIGN_OR_RETURN(const auto response, client->Backup(request, context.timeout()));
    Print(context, response,
          {{"path", response.path()},
           {"sequence", WithCommas(response.sequence())},
           {"hash", response.hash()}});
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<Command> NewHashCommand() { return std::make_unique<HashCommand>(); }
std::unique_ptr<Command> NewSnapshotCommand() { return std::make_unique<SnapshotCommand>(); }
std::unique_ptr<Command> NewBackupCommand() { return std::make_unique<BackupCommand>(); }

}  // namespace factord
