#include "factorctl/factorctl.h"

#include <ostream>
#include <utility>

#include "absl/strings/str_format.h"
#include "factorctl/commands.h"
#include "factorctl/completion.h"

namespace factord {
namespace {

constexpr char kIntroduction[] =
    R"(factorctl talks to a factord server, and reads its data folder while it is stopped.

  factorctl [--server HOST:PORT] [--json] COMMAND [FLAGS] [ARGUMENTS]

First steps, with a server on this machine:

  factorctl health --wait 10
  factorctl rate alice "The Matrix" 4.5
  factorctl import data/ml-latest-small/ratings.csv --sort_by_time
  factorctl recommend 15 --titles data/ml-latest-small/movies.csv

With a server elsewhere, over TLS and with a token (factorctl token makes one):

  factorctl --server ratings.example:7070 --tls_ca_file ca.pem --token_file token state
  export FACTORD_SERVER=ratings.example:7070 FACTORD_CA_FILE=ca.pem FACTORD_TOKEN=...

While a server restarts, calls wait for it, up to their --timeout. Completion for your shell:

  source <(factorctl completion bash)

Commands ("factorctl help COMMAND" explains one, with examples):

)";

constexpr char kConclusion[] = R"(
Exit codes: 0 done; 1 failed, the reason is on standard error; 2 wrong usage.
)";

void AddCommonFlags(FlagSet* flags, bool offline, Context* context, bool* help) {
  if (!offline) {
    ServerFlags* const server = context->mutable_server_flags();
    flags->Add("server", &server->server, "HOST:PORT",
               "the server; without it $FACTORD_SERVER, or 127.0.0.1:7070");
    flags->Add("model", &server->model, "NAME", "the model; without it the server's default one");
    flags->Add("timeout", &server->timeout, "SECONDS",
               "for each call; 0: 5 s for reads, 10 s for writes, 10 min for operations");
    flags->Add("tls", &server->tls,
               "use TLS, with the system's CAs; any other --tls flag does, too");
    flags->Add("tls_ca_file", &server->tls_ca_file, "PEM",
               "whose certificates to believe; without it $FACTORD_CA_FILE");
    flags->Add("tls_cert_file", &server->tls_cert_file, "PEM", "your own certificate");
    flags->Add("tls_key_file", &server->tls_key_file, "PEM", "its key");
    flags->Add("tls_server_name", &server->tls_server_name, "NAME",
               "the name in the server's certificate, if it is not that of --server");
    flags->Add("token_file", &server->token_file, "FILE",
               "the first word is your token; without it $FACTORD_TOKEN");
  }
  flags->Add("json", context->mutable_json(), "print JSON: one object, or one a line");
  flags->Add("help", help, "print this help");
  flags->Alias("h", "help");
}

// Of what stands before the command.
void AddLeadingFlags(FlagSet* flags, Context* context, bool* help, bool* version) {
  AddCommonFlags(flags, /*offline=*/false, context, help);
  flags->Add("version", version, "print the version");
}

using Commands = std::vector<std::unique_ptr<Command>>;

void PrintOverview(const Commands& commands, Context* context, std::ostream& out) {
  out << kIntroduction;
  for (const auto& command : commands) {
    const Command::Info info = command->info();
    out << absl::StrFormat("  %-11s%s\n", info.name, info.summary);
  }
  FlagSet flags;
  bool help = false, version = false;
  AddLeadingFlags(&flags, context, &help, &version);
  out << "\nFlags, which every command takes, too, but for --version:\n\n"
      << flags.Help() << kConclusion;
}

void PrintCommandHelp(Command& command, Context* context, std::ostream& out) {
  const Command::Info info = command.info();
  out << "factorctl " << info.name << " " << info.arguments << "\n\n" << info.help << "\n";
  FlagSet own, common;
  bool help = false;
  command.AddFlags(&own);
  AddCommonFlags(&common, info.offline, context, &help);
  if (const std::string text = own.Help(); !text.empty()) out << "Flags:\n\n" << text << "\n";
  out << "Flags of every command:\n\n" << common.Help();
}

// What completion offers for the words of an unfinished command line.
std::vector<std::string> CompleteWords(const Commands& commands, Context* context,
                                       const std::vector<std::string>& words) {
  bool help = false, version = false;
  FlagSet leading;
  AddLeadingFlags(&leading, context, &help, &version);
  std::vector<CompletableCommand> completable;
  for (const auto& command : commands) {
    const Command::Info info = command->info();
    FlagSet flags;
    command->AddFlags(&flags);
    AddCommonFlags(&flags, info.offline, context, &help);
    completable.push_back({std::string(info.name), std::string(info.arguments),
                           std::string(info.summary), flags.List()});
  }
  return Complete(completable, leading.List(), words);
}

absl::StatusOr<Command*> FindCommand(const Commands& commands, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& command : commands) {
    if (command->info().name == name) return command.get();
    names.emplace_back(command->info().name);
  }
  const std::string nearest = NearestName(name, names);
  return UsageError(
      absl::StrCat("unknown command '", name, "'",
                   nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?")));
}

absl::Status CheckArgumentCount(const Command::Info& info, size_t count) {
  if (count >= info.min_arguments && count <= info.max_arguments) return absl::OkStatus();
  return UsageError(absl::StrCat(count < info.min_arguments ? "too few" : "too many",
                                 " arguments; usage: factorctl ", info.name, " ", info.arguments));
}

// Runs the command line; *command_name is set as soon as it is known.
absl::Status Run(const std::vector<std::string>& arguments, Context& context,
                 std::string* command_name) {
  const Commands commands = AllCommands();
  if (!arguments.empty() && arguments[0] == kCompleteCommand) {
    const std::vector<std::string> words(arguments.begin() + 1, arguments.end());
    for (const std::string& line : CompleteWords(commands, &context, words)) {
      context.out() << line << "\n";
    }
    return absl::OkStatus();
  }
  bool help = false, version = false;
  FlagSet leading;
  AddLeadingFlags(&leading, &context, &help, &version);
  FACTORD_ASSIGN_OR_RETURN(const size_t flags, leading.ParseLeading(arguments));
  if (version) {
    context.out() << "factorctl " FACTORD_VERSION "\n";
    return absl::OkStatus();
  }
  std::vector<std::string> rest(arguments.begin() + static_cast<std::ptrdiff_t>(flags),
                                arguments.end());
  if (!rest.empty() && rest[0] == "help") {
    help = true;
    rest.erase(rest.begin());
  }
  if (rest.empty()) {
    if (!help) return UsageError("no command given");
    PrintOverview(commands, &context, context.out());
    return absl::OkStatus();
  }
  FACTORD_ASSIGN_OR_RETURN(Command* const command, FindCommand(commands, rest[0]));
  rest.erase(rest.begin());
  *command_name = std::string(command->info().name);
  if (help) {
    PrintCommandHelp(*command, &context, context.out());
    return absl::OkStatus();
  }

  FlagSet own;
  command->AddFlags(&own);
  AddCommonFlags(&own, command->info().offline, &context, &help);
  std::vector<std::string> positional;
  FACTORD_RETURN_IF_ERROR(own.Parse(rest, &positional));
  if (help) {
    PrintCommandHelp(*command, &context, context.out());
    return absl::OkStatus();
  }
  FACTORD_RETURN_IF_ERROR(CheckArgumentCount(command->info(), positional.size()));
  return command->Run(positional, context);
}

}  // namespace

CtlExit RunFactorctl(const std::vector<std::string>& arguments, std::ostream& out,
                     std::ostream& err, bool err_is_terminal) {
  Context context(out, err, err_is_terminal);
  std::string command;
  const absl::Status status = Run(arguments, context, &command);
  out.flush();
  if (status.ok()) {
    if (out.good()) return CtlExit::kOk;
    err << "factorctl: cannot write to standard output\n";
    return CtlExit::kFailed;
  }
  const std::string name = command.empty() ? "factorctl" : absl::StrCat("factorctl ", command);
  if (IsUsageError(status)) {
    err << name << ": " << status.message() << "\n"
        << "Try: factorctl help" << (command.empty() ? "" : " ") << command << "\n";
    return CtlExit::kUsage;
  }
  err << name << ": " << absl::StatusCodeToString(status.code()) << ": " << status.message();
  if (absl::IsUnauthenticated(status) && !context.has_token()) {
    err << "; give a token with --token_file or $FACTORD_TOKEN";
  }
  err << "\n";
  return CtlExit::kFailed;
}

}  // namespace factord
