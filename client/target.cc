#include "client/target.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/loopback.h"

namespace factord {
namespace {

bool IsUnixSocket(absl::string_view target) {
  return absl::StartsWith(target, "unix:") || absl::StartsWith(target, "unix-abstract:");
}

// Takes the scheme off the front, if it is one of those whose rest is an address or several.
bool ConsumeScheme(absl::string_view* target) {
  if (absl::ConsumePrefix(target, "dns:")) {
    if (absl::ConsumePrefix(target, "//")) {  // the DNS server
      target->remove_prefix(std::min(target->size(), target->find('/') + 1));
    }
    return true;
  }
  return absl::ConsumePrefix(target, "ipv4:") || absl::ConsumePrefix(target, "ipv6:");
}

struct Address {
  absl::string_view host;  // without brackets
  std::optional<absl::string_view> port;
};

// Nothing: it is none.
std::optional<Address> SplitAddress(absl::string_view text) {
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "[")) {
    const size_t end = rest.find(']');
    if (end == absl::string_view::npos) return std::nullopt;
    const absl::string_view host = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (rest.empty()) return Address{host, std::nullopt};
    if (!absl::ConsumePrefix(&rest, ":")) return std::nullopt;
    return Address{host, rest};
  }
  const size_t colon = text.find(':');
  // Several colons without brackets are an IPv6 address without a port.
  if (colon == absl::string_view::npos || colon != text.rfind(':')) {
    return Address{text, std::nullopt};
  }
  return Address{text.substr(0, colon), text.substr(colon + 1)};
}

bool IsLoopbackAddress(absl::string_view text) {
  const std::optional<Address> address = SplitAddress(text);
  if (!address.has_value()) return false;
  const std::string host(address->host);
  return IsLoopbackIp(host) || absl::EqualsIgnoreCase(host, "localhost");
}

bool IsNumber(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

}  // namespace

std::string CheckTarget(absl::string_view target) {
  if (target.empty()) return "must not be empty";
  if (absl::StartsWithIgnoreCase(target, "http://") ||
      absl::StartsWithIgnoreCase(target, "https://")) {
    return "must be HOST:PORT, without http:// or https://";
  }
  if (IsUnixSocket(target)) return "";
  absl::string_view addresses = target;
  const bool has_scheme = ConsumeScheme(&addresses);
  if (!has_scheme && absl::StrContains(target, "://")) return "";  // some other resolver's
  const std::vector<absl::string_view> list = absl::StrSplit(addresses, ',');
  for (const absl::string_view text : list) {
    const std::optional<Address> address = SplitAddress(text);
    // By a scheme a port may be left out: gRPC then takes 443.
    if (!address.has_value() || address->host.empty() ||
        !(address->port.has_value() ? IsNumber(*address->port) : has_scheme)) {
      return absl::StrCat("must be HOST:PORT, is '", target, "'");
    }
    uint32_t port = 0;
    if (address->port.has_value() &&
        (!absl::SimpleAtoi(*address->port, &port) || port < 1 || port > 65'535)) {
      return absl::StrCat("must be HOST:PORT, with a port of 1 to 65535, is '", target, "'");
    }
  }
  return "";
}

bool IsLoopback(absl::string_view target) {
  if (IsUnixSocket(target)) return true;
  ConsumeScheme(&target);
  const std::vector<absl::string_view> addresses = absl::StrSplit(target, ',');
  return std::all_of(addresses.begin(), addresses.end(), IsLoopbackAddress);
}

}  // namespace factord
