#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "factorctl/commands.h"
#include "factorctl/json.h"
#include "factorctl/table.h"

namespace factord {
namespace {

// As many as a key of AES-256 has: nobody guesses them.
constexpr size_t kRandomBytes = 32;
constexpr size_t kMaxNameBytes = 64;

class TokenCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "token",
        .arguments = "NAME SCOPES",
        .summary = "make a token for a client (offline)",
        .help =
            R"(Makes a random token. Prints a line for the server's --token_file, which holds only the token's SHA-256
and is no secret, and the token itself, which nothing remembers: put it where the client finds it, and nowhere else.

  factorctl token shop read,write
  factorctl token operator read,admin --json

NAME is what the server's log and limits call the client. SCOPES, with commas between them: read (recommendations,
model), write (ratings), admin (snapshots, hashes, backups).
)",
        .min_arguments = 2,
        .max_arguments = 2,
        .offline = true};
  }

  absl::Status Run(const std::vector<std::string>& arguments, Context& context) override {
    const std::string& name = arguments[0];
    const std::string& scopes = arguments[1];
    if (name.empty() || name.size() > kMaxNameBytes ||
        !std::all_of(name.begin(), name.end(), [](char c) {
          return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
        })) {
      return UsageError("NAME: up to 64 letters, digits, '.', '_' or '-'");
    }
    for (const absl::string_view scope : absl::StrSplit(scopes, ',')) {
      if (scope != "read" && scope != "write" && scope != "admin") {
        return UsageError(absl::StrCat("SCOPES: '", scope, "' is none of read, write, admin"));
      }
    }
    std::string bytes(kRandomBytes, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), kRandomBytes) != 1) {
      return absl::InternalError("the system gives no random numbers");
    }
    std::string token;
    absl::WebSafeBase64Escape(bytes, &token);
    std::string hash(SHA256_DIGEST_LENGTH, '\0');
    SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(),
           reinterpret_cast<unsigned char*>(hash.data()));
    const std::string line =
        absl::StrCat(name, " ", scopes, " sha256:", absl::BytesToHexString(hash));
    if (context.json()) {
      context.out() << Dump(Json{{"server", line}, {"token", token}}) << "\n";
    } else {
      context.out() << NamedValues({{"for the server's --token_file", line}, {"token", token}});
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<Command> NewTokenCommand() { return std::make_unique<TokenCommand>(); }

}  // namespace factord
