#include "server/message.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include <algorithm>
#include <limits>

#include "server/status.h"

namespace factord {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// What a request may have for each element of its list, and beside it. A rating has nine, with
// those of its time; the others are for versions to come, whose fields are kept when they are not
// known.
constexpr int64_t kFieldsAnElement = 16;
constexpr int64_t kFieldsOfARequest = 1'000;

// What parsing would make.
struct Parts {
  int64_t elements = 0;  // of lists
  int64_t fields = 0;    // all, with those inside of others
};

// Counts up to the end of what `in` may read, of the group, or of what can be read: where this
// gives up, a parser has done so too. `type` null: a group, which is in none of our messages.
bool CountParts(CodedInputStream* in, const Descriptor* type, int depth, Parts* parts) {
  if (depth < 0) return false;
  while (const uint32_t tag = in->ReadTag()) {
    ++parts->fields;
    const auto wire_type = WireFormatLite::GetTagWireType(tag);
    if (wire_type == WireFormatLite::WIRETYPE_END_GROUP) return true;
    if (wire_type == WireFormatLite::WIRETYPE_START_GROUP) {
      if (!CountParts(in, nullptr, depth - 1, parts)) return false;
      continue;
    }
    const FieldDescriptor* const field =
        type == nullptr ? nullptr : type->FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    if (field == nullptr || wire_type != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(in, tag)) return false;
      continue;
    }
    if (field->is_repeated()) ++parts->elements;
    int size = 0;
    if (!in->ReadVarintSizeAsInt(&size)) return false;
    if (field->message_type() == nullptr) {
      if (!in->Skip(size)) return false;
      continue;
    }
    const CodedInputStream::Limit outer = in->PushLimit(size);
    const bool ok = CountParts(in, field->message_type(), depth - 1, parts);
    in->PopLimit(outer);
    if (!ok) return false;
  }
  return true;
}

absl::Status CheckParts(const grpc::ByteBuffer& bytes, const ListRule& list,
                        const Descriptor* type) {
  // Most requests have not the bytes for it: an element has two at least.
  if (static_cast<int64_t>(bytes.Length()) <= std::max(2 * int64_t{list.max}, kFieldsOfARequest)) {
    return absl::OkStatus();
  }
  Parts parts;
  grpc::ByteBuffer shared(bytes);
  grpc::ProtoBufferReader reader(&shared);
  if (!reader.status().ok()) return absl::OkStatus();  // Parse says so
  CodedInputStream in(&reader);
  (void)CountParts(&in, type, CodedInputStream::GetDefaultRecursionLimit(), &parts);
  if (parts.elements > list.max) return BadRequest(ValidateCount(parts.elements, list));
  const int64_t max_fields = kFieldsOfARequest + kFieldsAnElement * list.max;
  if (parts.fields <= max_fields) return absl::OkStatus();
  return BadRequest(
      {{"message", absl::StrCat("must have at most ", max_fields,
                                " fields, with those inside of others, has ", parts.fields)}});
}

}  // namespace

absl::Status Parse(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message) {
  grpc::ByteBuffer shared(bytes);  // the same bytes; the reader wants a buffer that it may change
  grpc::ProtoBufferReader reader(&shared);
  if (!reader.status().ok() || !message->ParseFromZeroCopyStream(&reader)) {
    return absl::InvalidArgumentError(absl::StrCat("not a valid ", message->GetTypeName(),
                                                   ": malformed, or a string in it is not UTF-8"));
  }
  return absl::OkStatus();
}

absl::Status ParseRequest(const grpc::ByteBuffer& bytes, const ListRule& list,
                          google::protobuf::Message* request) {
  FACTORD_RETURN_IF_ERROR(CheckParts(bytes, list, request->GetDescriptor()));
  return Parse(bytes, request);
}

absl::Status Serialize(const google::protobuf::MessageLite& message, grpc::ByteBuffer* bytes) {
  const size_t size = message.ByteSizeLong();
  if (size > std::numeric_limits<int>::max()) {
    return absl::InternalError(
        absl::StrCat("a ", message.GetTypeName(), " of ", size, " bytes cannot be sent"));
  }
  bytes->Clear();
  grpc::ProtoBufferWriter writer(bytes, grpc::kProtoBufferWriterMaxBufferLength,
                                 static_cast<int>(size));
  if (!message.SerializeToZeroCopyStream(&writer)) {
    return absl::InternalError(absl::StrCat("cannot serialize a ", message.GetTypeName()));
  }
  return absl::OkStatus();
}

}  // namespace factord
