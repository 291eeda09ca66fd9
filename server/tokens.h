// Bearer tokens: who may do what.
//
// The file has a token a line, `NAME SCOPES TOKEN`; empty lines and those that begin with # are
// passed over:
//
//   shop-backend  read,write  6vQ0tqkWm0sXo1u8QmYh2A
//   operator      read,admin
//   sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//
// NAME, letters, digits, '.', '_' and '-', is what the log and rate limits call the client; a name
// may have several tokens, so that one can be replaced without a gap. SCOPES are read, write and
// admin. TOKEN is 16 to 256 visible ASCII characters, or the SHA-256 of it: then the file is no
// secret.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "server/rpc.h"

namespace factord {

using TokenHash = std::array<unsigned char, 32>;  // SHA-256

struct Token {
  std::string name;
  uint8_t scopes = 0;  // bits of Scope
  TokenHash hash = {};

  bool operator==(const Token&) const = default;
};

// Immutable, so thread-safe.
class TokenTable {
 public:
  explicit TokenTable(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  // Null if nobody has it. Compares with every token, in a time that does not depend on which of
  // them it resembles.
  const Token* Find(absl::string_view token) const;

  size_t size() const { return tokens_.size(); }
  bool operator==(const TokenTable&) const = default;

 private:
  std::vector<Token> tokens_;
};

// INVALID_ARGUMENT: every bad line, by file and number and never with what is in it; or no token at
// all.
absl::StatusOr<TokenTable> ReadTokens(const std::string& path);

}  // namespace factord
