// Protobuf messages as JSON objects for scripts: field names as in the .proto files, every field
// present (also those with their default values; an optional one that is unset is null), 64-bit
// integers as numbers, enums by name, timestamps in RFC 3339. (protobuf's own JSON writes 64-bit
// integers as strings.)
//
// Thread-safe.
#pragma once

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"

namespace factord {

using Json = nlohmann::ordered_json;

Json ToJson(const google::protobuf::Message& message);

// The shortest number that is the same float: 0.1F is 0.1, and not 0.10000000149011612.
Json FloatToJson(float value);

// Text of any bytes: what is not UTF-8 is replaced.
std::string Dump(const Json& json);

}  // namespace factord
