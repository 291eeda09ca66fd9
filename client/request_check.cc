#include "client/request_check.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/utf8.h"

namespace factord {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr char kNotUtf8[] = ": is not valid UTF-8";
constexpr size_t kMostNamed = 20;
constexpr size_t kMaxStringBytes = 4'096;
// The server's own limits (server/validation.h), for the message alone.
constexpr size_t kMaxIdBytes = 256;
constexpr size_t kMaxOtherIdBytes = 64;

// The paths, from `message` on, of the strings that are not UTF-8.
std::vector<std::string> FindBadText(const Message& message) {
  std::vector<std::string> bad;
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* const field = message.GetDescriptor()->field(i);
    const bool is_text = field->type() == FieldDescriptor::TYPE_STRING;
    if (!is_text && field->type() != FieldDescriptor::TYPE_MESSAGE) continue;
    const bool is_list = field->is_repeated();
    const int count = is_list   ? reflection.FieldSize(message, field)
                      : is_text ? 1
                                : static_cast<int>(reflection.HasField(message, field));
    for (int j = 0; j < count; ++j) {
      const auto add = [&](absl::string_view rest) {
        bad.push_back(absl::StrCat(field->name(), is_list ? absl::StrCat("[", j, "]") : "", rest));
      };
      if (is_text) {
        std::string scratch;
        if (!IsValidUtf8(is_list
                             ? reflection.GetRepeatedStringReference(message, field, j, &scratch)
                             : reflection.GetStringReference(message, field, &scratch))) {
          add("");
        }
      } else {
        for (const std::string& path :
             FindBadText(is_list ? reflection.GetRepeatedMessage(message, field, j)
                                 : reflection.GetMessage(message, field))) {
          add(absl::StrCat(".", path));
        }
      }
    }
  }
  return bad;
}

}  // namespace

absl::Status CheckText(const Message& message) {
  std::vector<std::string> bad = FindBadText(message);
  if (bad.empty()) return absl::OkStatus();
  const size_t more = bad.size() > kMostNamed ? bad.size() - kMostNamed : 0;
  bad.resize(bad.size() - more);
  for (std::string& path : bad) path += kNotUtf8;
  return absl::InvalidArgumentError(absl::StrCat(
      absl::StrJoin(bad, "; "), more == 0 ? "" : absl::StrCat("; and ", more, " more")));
}

absl::Status CheckRating(const v1::Rating& rating) {
  std::vector<std::string> bad;
  const auto check = [&bad](absl::string_view field, const std::string& text,
                            absl::string_view rule, size_t max_bytes) {
    if (text.size() > kMaxStringBytes) {
      bad.push_back(
          absl::StrCat(field, ": must have ", rule, max_bytes, " bytes, has ", text.size()));
    } else if (!IsValidUtf8(text)) {
      bad.push_back(absl::StrCat(field, kNotUtf8));
    }
  };
  check("user_id", rating.user_id(), "1 to ", kMaxIdBytes);
  check("item_id", rating.item_id(), "1 to ", kMaxIdBytes);
  check("event_id", rating.event_id(), "at most ", kMaxOtherIdBytes);
  check("recommendation_id", rating.recommendation_id(), "at most ", kMaxOtherIdBytes);
  if (bad.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(bad, "; "));
}

}  // namespace factord
