#include "tests/crash/history.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/store.h"

namespace factord {
namespace {

v1::Rating ToRating(const LoggedEvent& event) {
  v1::Rating rating;
  SetRating(event.user, event.item, event.rating, &rating);
  if (event.kind == EventKind::kTaken) {
    rating.clear_rating();
    rating.set_event_type(kEventType);
  }
  if (!event.time_is_servers) {
    rating.mutable_event_time()->set_seconds(event.time_micros / 1'000'000);
    rating.mutable_event_time()->set_nanos(
        static_cast<int32_t>(event.time_micros % 1'000'000 * 1'000));
  }
  rating.set_event_id(event.event_id);
  rating.set_recommendation_id(event.recommendation_id);
  return rating;
}

// Counts an acknowledged event that is not there, or is another.
void CheckOne(const LoggedEvent* logged, const v1::Rating& sent, const std::string& name,
              Verdict* verdict) {
  if (logged != nullptr && logged->SameContent(sent)) return;
  ++verdict->lost;
  ADD_FAILURE() << (logged == nullptr ? "lost: " : "not as it was sent: ") << name;
}

}  // namespace

bool LoggedEvent::SameContent(const v1::Rating& sent) const {
  return (kind == EventKind::kTaken) == (sent.event_type() == kEventType) &&
         user == sent.user_id() && item == sent.item_id() && rating == sent.rating() &&
         event_id == sent.event_id() && time_is_servers == !sent.has_event_time() &&
         (time_is_servers || time_micros == sent.event_time().seconds() * 1'000'000 +
                                                sent.event_time().nanos() / 1'000);
}

std::vector<LoggedEvent> ReadLog(const std::string& path) {
  std::vector<LoggedEvent> log;
  auto store = Store::Open({.path = path, .read_only = true});
  EXPECT_TRUE(store.ok()) << store.status();
  if (!store.ok()) return log;
  auto cursor = (*store)->log()->ReadFrom(1);
  EXPECT_TRUE(cursor.ok()) << cursor.status();
  while (cursor.ok()) {
    const auto events = (*cursor)->Next();
    EXPECT_TRUE(events.ok()) << events.status();
    if (!events.ok() || events->empty()) break;
    for (const Event& event : *events) {
      log.push_back({event.sequence, event.kind, std::string(event.user_id),
                     std::string(event.item_id), event.rating, event.time_micros,
                     event.time_is_servers, std::string(event.event_id),
                     std::string(event.recommendation_id), std::string(event.producer_id),
                     event.producer_number});
    }
  }
  return log;
}

Verdict CheckHistory(const std::vector<LoggedEvent>& log,
                     const std::vector<std::unique_ptr<UnaryWriter>>& writers,
                     const std::vector<std::unique_ptr<StreamWriter>>& streams) {
  Verdict verdict;
  std::map<std::string, const LoggedEvent*> by_id;
  std::map<std::string, std::map<int64_t, const LoggedEvent*>> by_number;
  for (size_t i = 0; i < log.size(); ++i) {
    const LoggedEvent& event = log[i];
    EXPECT_EQ(event.sequence, static_cast<int64_t>(i) + 1) << "a hole";
    const bool is_first = event.producer.empty()
                              ? by_id.emplace(event.event_id, &event).second
                              : by_number[event.producer].emplace(event.number, &event).second;
    if (is_first) continue;
    ++verdict.doubled;
    ADD_FAILURE() << "twice: " << event.event_id << event.producer << " " << event.number;
  }
  for (const auto& writer : writers) {
    int64_t last = 0;
    std::set<std::string> seen;
    for (const Acknowledged& event : writer->acknowledged()) {
      const auto found = by_id.find(event.rating.event_id());
      const LoggedEvent* const logged = found != by_id.end() ? found->second : nullptr;
      CheckOne(logged, event.rating, event.rating.event_id(), &verdict);
      if (logged == nullptr) continue;
      EXPECT_EQ(logged->sequence, event.sequence) << event.rating.event_id();
      // One that is sent again keeps its place.
      if (!seen.insert(event.rating.event_id()).second) continue;
      EXPECT_GT(event.sequence, last) << "out of order: " << event.rating.event_id();
      last = event.sequence;
    }
  }
  for (const auto& stream : streams) {
    const auto& numbers = by_number[stream->producer()];
    int64_t last_sequence = 0;
    for (const auto& [number, event] : numbers) {
      EXPECT_GT(event->sequence, last_sequence) << "out of order: " << number;
      last_sequence = event->sequence;
    }
    // No hole: whatever is there, acknowledged or not, came in order.
    const int64_t last_number = numbers.empty() ? 0 : numbers.rbegin()->first;
    EXPECT_EQ(last_number, std::ssize(numbers)) << "a hole in " << stream->producer();
    for (int64_t number = 1; number <= stream->acknowledged(); ++number) {
      const auto found = numbers.find(number);
      CheckOne(found != numbers.end() ? found->second : nullptr, stream->sent()[number - 1],
               absl::StrCat(stream->producer(), " ", number), &verdict);
    }
  }
  return verdict;
}

void CheckSeenItems(const ServerProcess& server, const std::vector<LoggedEvent>& log) {
  std::map<std::string, std::set<std::string>> rated;
  std::set<std::string> items;
  for (const LoggedEvent& event : log) {
    rated[event.user].insert(event.item);
    items.insert(event.item);
  }
  const auto stub = v1::RecommendationService::NewStub(server.channel());
  for (const auto& [user, seen] : rated) {
    v1::RecommendItemsRequest request;
    request.set_user_id(user);
    request.set_max_items(kItems);
    v1::RecommendItemsResponse response;
    grpc::ClientContext context;
    const grpc::Status status = stub->RecommendItems(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    std::set<std::string> unseen = items;
    for (const std::string& item : seen) unseen.erase(item);
    std::set<std::string> recommended;
    for (const v1::ScoredItem& item : response.items()) recommended.insert(item.item_id());
    EXPECT_EQ(recommended, unseen) << user;
  }
}

SentInOrder SendSome(const std::shared_ptr<grpc::Channel>& channel,
                     const std::vector<LoggedEvent>& log, size_t first, size_t at_most) {
  const auto stub = v1::RatingService::NewStub(channel);
  const size_t end = std::min(log.size(), first + at_most);
  grpc::ClientContext context;
  SentInOrder sent;
  sent.next = first;
  const std::string& producer = log[first].producer;
  if (producer.empty()) {
    v1::RecordRatingsRequest request;
    for (; sent.next < end && log[sent.next].producer.empty(); ++sent.next) {
      *request.add_events() = ToRating(log[sent.next]);
    }
    v1::RecordRatingsResponse response;
    sent.begun = std::chrono::steady_clock::now();
    sent.status = stub->RecordRatings(&context, request, &response);
    return sent;
  }
  // Those of a producer by a stream, with their numbers.
  auto stream = stub->StreamRatings(&context);
  v1::StreamRatingsRequest message;
  message.mutable_start()->set_producer_id(producer);
  stream->Write(message);
  message.mutable_batch()->set_first_number(log[first].number);
  for (; sent.next < end && log[sent.next].producer == producer &&
         log[sent.next].number == log[first].number + static_cast<int64_t>(sent.next - first);
       ++sent.next) {
    *message.mutable_batch()->add_events() = ToRating(log[sent.next]);
  }
  sent.begun = std::chrono::steady_clock::now();
  stream->Write(message);
  stream->WritesDone();
  v1::StreamRatingsResponse response;
  while (stream->Read(&response)) {
  }
  sent.status = stream->Finish();
  return sent;
}

}  // namespace factord
