// Messages as gRPC carries them. The services take raw bytes and parse them themselves, because
// gRPC's callback API has no right answer to bytes that it cannot parse: it fails a unary call with
// UNIMPLEMENTED, and ends a stream as if the client had sent all.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include "base/status.h"
#include "server/validation.h"

namespace factord {

// INVALID_ARGUMENT if `bytes` are no `message`: malformed, cut off, or with a string that is not
// UTF-8.
absl::Status Parse(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message);

// The same for a request whose only list is `list`. INVALID_ARGUMENT also, before anything is
// made of the bytes, if the list is too long or there are very many fields: parsed, an empty
// element of two bytes would take a hundred.
absl::Status ParseRequest(const grpc::ByteBuffer& bytes, const ListRule& list,
                          google::protobuf::Message* request);

// INTERNAL if `message` has 2 GiB or more, which no message may.
absl::Status Serialize(const google::protobuf::MessageLite& message, grpc::ByteBuffer* bytes);

}  // namespace factord
