// What the server could not even read, found before it is sent: it refuses such a message as a
// whole, names no field, and ends the stream that it came on. Everything else is for the server to
// judge.
//
// Thread-safe.
#pragma once

#include "base/status.h"
#include "factord/v1/rating.pb.h"
#include "google/protobuf/message.h"

namespace factord {

// INVALID_ARGUMENT naming the strings of `message` that are not UTF-8, the first few of them:
// "events[3].user_id: is not valid UTF-8; ...".
absl::Status CheckText(const google::protobuf::Message& message);

// The same for a rating of a stream, quickly. Also refuses strings of more than 4 KiB, as the
// server would, so that a rating always fits into a message.
absl::Status CheckRating(const v1::Rating& rating);

}  // namespace factord
