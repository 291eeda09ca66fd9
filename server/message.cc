#include "server/message.h"

#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include <limits>

namespace factord {

absl::Status Parse(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message) {
  grpc::ByteBuffer shared(bytes);  // the same bytes; the reader wants a buffer that it may change
  grpc::ProtoBufferReader reader(&shared);
  if (!reader.status().ok() || !message->ParseFromZeroCopyStream(&reader)) {
    return absl::InternalError(absl::StrCat("not a valid ", message->GetTypeName(),
                                            ": malformed, or a string in it is not UTF-8"));
  }
  return absl::OkStatus();
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
