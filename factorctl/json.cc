#include "factorctl/json.h"

#include <charconv>
#include <cmath>
#include <string>

#include "absl/strings/numbers.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/timestamp.pb.h"
#include "google/protobuf/util/time_util.h"

namespace factord {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// One value of a field: element `index`, or the only one for index -1.
Json ValueToJson(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection* const reflection = message.GetReflection();
#define FACTORD_VALUE(Type)                          \
  (index < 0 ? reflection->Get##Type(message, field) \
             : reflection->GetRepeated##Type(message, field, index))
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return FACTORD_VALUE(Int32);
    case FieldDescriptor::CPPTYPE_INT64:
      return FACTORD_VALUE(Int64);
    case FieldDescriptor::CPPTYPE_UINT32:
      return FACTORD_VALUE(UInt32);
    case FieldDescriptor::CPPTYPE_UINT64:
      return FACTORD_VALUE(UInt64);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return FACTORD_VALUE(Double);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return FloatToJson(FACTORD_VALUE(Float));
    case FieldDescriptor::CPPTYPE_BOOL:
      return FACTORD_VALUE(Bool);
    case FieldDescriptor::CPPTYPE_ENUM:
      return FACTORD_VALUE(Enum)->name();
    case FieldDescriptor::CPPTYPE_STRING:
      return FACTORD_VALUE(String);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return index < 0 ? ToJson(reflection->GetMessage(message, field))
                       : ToJson(reflection->GetRepeatedMessage(message, field, index));
  }
#undef FACTORD_VALUE
  return nullptr;
}

Json FieldToJson(const Message& message, const FieldDescriptor* field) {
  const Reflection* const reflection = message.GetReflection();
  if (field->is_repeated()) {
    Json array = Json::array();
    const int size = reflection->FieldSize(message, field);
    for (int i = 0; i < size; ++i) array.push_back(ValueToJson(message, field, i));
    return array;
  }
  if (field->has_presence() && !reflection->HasField(message, field)) return nullptr;
  return ValueToJson(message, field, -1);
}

}  // namespace

Json FloatToJson(float value) {
  if (!std::isfinite(value)) return nullptr;
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  double number = value;
  if (error == std::errc()) {
    (void)absl::SimpleAtod(absl::string_view(text, static_cast<size_t>(end - text)), &number);
  }
  return number;
}

Json ToJson(const Message& message) {
  if (const auto* time = dynamic_cast<const google::protobuf::Timestamp*>(&message)) {
    return google::protobuf::util::TimeUtil::ToString(*time);
  }
  Json object = Json::object();
  const google::protobuf::Descriptor* const descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* const field = descriptor->field(i);
    object[field->name()] = FieldToJson(message, field);
  }
  return object;
}

std::string Dump(const Json& json) {
  return json.dump(/*indent=*/-1, /*indent_char=*/' ', /*ensure_ascii=*/false,
                   Json::error_handler_t::replace);
}

}  // namespace factord
