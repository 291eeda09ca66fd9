#include "server/tokens.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/file_util.h"

namespace factord {
namespace {

constexpr size_t kMinTokenBytes = 16;
constexpr size_t kMaxTokenBytes = 256;
constexpr size_t kMaxNameBytes = 64;

TokenHash HashOf(absl::string_view token) {
  TokenHash hash;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  return hash;
}

// Empty, or what is wrong with the line.
std::string ParseName(absl::string_view text, Token* token) {
  const bool is_good =
      text.size() <= kMaxNameBytes && std::all_of(text.begin(), text.end(), [](unsigned char c) {
        return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
      });
  if (!is_good) return "the name must be up to 64 letters, digits, '.', '_' or '-'";
  token->name = std::string(text);
  return "";
}

std::string ParseScopes(absl::string_view text, Token* token) {
  for (const absl::string_view scope : absl::StrSplit(text, ',')) {
    if (scope == "read") {
      token->scopes |= kScopeRead;
    } else if (scope == "write") {
      token->scopes |= kScopeWrite;
    } else if (scope == "admin") {
      token->scopes |= kScopeAdmin;
    } else {
      return "the scopes must be a list of read, write and admin, with commas between them";
    }
  }
  return "";
}

std::string ParseToken(absl::string_view text, Token* token) {
  if (absl::ConsumePrefix(&text, "sha256:")) {
    const bool is_hex = text.size() == 2 * token->hash.size() &&
                        std::all_of(text.begin(), text.end(), absl::ascii_isxdigit);
    if (!is_hex) return "sha256: must be followed by 64 hexadecimal digits";
    const std::string bytes = absl::HexStringToBytes(text);
    std::copy(bytes.begin(), bytes.end(), token->hash.begin());
    return "";
  }
  if (text.size() < kMinTokenBytes || text.size() > kMaxTokenBytes ||
      !std::all_of(text.begin(), text.end(), absl::ascii_isgraph)) {
    return "the token must have 16 to 256 visible ASCII characters";
  }
  token->hash = HashOf(text);
  return "";
}

std::string ParseLine(absl::string_view line, Token* token) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (words.size() != 3) return "must be NAME SCOPES TOKEN";
  for (std::string wrong :
       {ParseName(words[0], token), ParseScopes(words[1], token), ParseToken(words[2], token)}) {
    if (!wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace

const Token* TokenTable::Find(absl::string_view token) const {
  const TokenHash hash = HashOf(token);
  const Token* found = nullptr;
  for (const Token& candidate : tokens_) {
    if (CRYPTO_memcmp(candidate.hash.data(), hash.data(), hash.size()) == 0) found = &candidate;
  }
  return found;
}

absl::StatusOr<TokenTable> ReadTokens(const std::string& path) {
  FACTORD_ASSIGN_OR_RETURN(const std::string content, ReadSmallFile(path));
  std::vector<Token> tokens;
  std::set<TokenHash> seen;
  std::vector<std::string> mistakes;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(content, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    Token token;
    std::string wrong = ParseLine(line, &token);
    if (wrong.empty() && !seen.insert(token.hash).second) wrong = "the token is there already";
    if (wrong.empty()) {
      tokens.push_back(std::move(token));
    } else {
      mistakes.push_back(absl::StrCat(path, ":", number, ": ", wrong));
    }
  }
  if (mistakes.empty() && tokens.empty()) mistakes.push_back(absl::StrCat(path, ": has no token"));
  if (!mistakes.empty()) return absl::InvalidArgumentError(absl::StrJoin(mistakes, "\n"));
  return TokenTable(std::move(tokens));
}

}  // namespace factord
