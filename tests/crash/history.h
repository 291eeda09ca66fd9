// What a folder's log holds, against what clients were promised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "storage/records.h"
#include "tests/crash/clients.h"
#include "tests/e2e/server_process.h"

namespace factord {

// An event with strings of its own.
struct LoggedEvent {
  int64_t sequence = 0;
  EventKind kind = EventKind::kRating;
  std::string user, item;
  float rating = 0;
  int64_t time_micros = 0;
  bool time_is_servers = true;
  std::string event_id, recommendation_id, producer;
  int64_t number = 0;

  bool SameContent(const v1::Rating& sent) const;
};

// The whole log of a folder that nobody has open.
std::vector<LoggedEvent> ReadLog(const std::string& path);

// What was found wrong; each is also a failure of the test.
struct Verdict {
  int64_t lost = 0;     // acknowledged, and not in the log as it was sent
  int64_t doubled = 0;  // in the log twice
};

// Every acknowledged event is in the log once, as it was sent, under the sequence that was told,
// and in the order of those who sent it; a request's new events are there one behind the other, or
// none of them, and behind those of every request that was answered before it was begun; the log
// has no hole, and nothing that nobody sent.
Verdict CheckHistory(const std::vector<LoggedEvent>& log,
                     const std::vector<std::vector<SentRequest>>& writers,
                     const std::vector<SentStream>& streams);

// The items that each user has rated, as the server leaves them out, are those of the log, and
// there are some that somebody has not rated.
void CheckSeenItems(const ServerProcess& server, const std::vector<LoggedEvent>& log);

// Sends some of the events of a log from number `first` on, in their order, in one call. OK: the
// number of the next one.
struct SentInOrder {
  grpc::Status status;
  SteadyTime begun;  // when they were sent
  size_t next = 0;
};
SentInOrder SendSome(const std::shared_ptr<grpc::Channel>& channel,
                     const std::vector<LoggedEvent>& log, size_t first, size_t at_most);

}  // namespace factord
