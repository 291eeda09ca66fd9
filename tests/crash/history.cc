#include "tests/crash/history.h"

#include <gtest/gtest.h>

#include <algorithm>
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

// The events of a log as those who sent them know them.
class Ledger {
 public:
  Ledger(const std::vector<LoggedEvent>& log, Verdict* verdict) : log_(log), verdict_(*verdict) {
    for (size_t i = 0; i < log.size(); ++i) {
      const LoggedEvent& event = log[i];
      EXPECT_EQ(event.sequence, static_cast<int64_t>(i) + 1) << "a hole";
      const bool is_first = event.producer.empty()
                                ? by_id_.emplace(event.event_id, &event).second
                                : by_number_[event.producer].emplace(event.number, &event).second;
      if (is_first) continue;
      ++verdict_.doubled;
      ADD_FAILURE() << "twice: " << event.event_id << event.producer << " " << event.number;
    }
  }

  // Null: it is not there.
  const LoggedEvent* Find(const std::string& event_id) const {
    const auto found = by_id_.find(event_id);
    return found != by_id_.end() ? found->second : nullptr;
  }
  const std::map<int64_t, const LoggedEvent*>& OfProducer(const std::string& producer) {
    return by_number_[producer];
  }

  // It was sent, and must be there if it was `acknowledged`.
  void Check(const LoggedEvent* logged, const v1::Rating& sent, bool acknowledged,
             const std::string& name) {
    if (logged == nullptr && !acknowledged) return;
    if (logged != nullptr && logged->SameContent(sent)) {
      was_sent_.insert(logged);
      return;
    }
    if (acknowledged) ++verdict_.lost;
    ADD_FAILURE() << (logged == nullptr ? "lost: " : "not as it was sent: ") << name;
  }
  // It is where its sender was told, if it is there.
  void CheckPlace(const LoggedEvent* logged, int64_t told, const std::string& name) {
    if (logged == nullptr || logged->sequence == told) return;
    ++verdict_.lost;
    ADD_FAILURE() << name << " was put at " << told << ", and is at " << logged->sequence;
  }
  // After all of them.
  void CheckThatAllWereSent() const {
    for (const LoggedEvent& event : log_) {
      EXPECT_TRUE(was_sent_.contains(&event)) << "nobody has sent sequence " << event.sequence;
    }
  }

 private:
  const std::vector<LoggedEvent>& log_;
  Verdict& verdict_;
  std::map<std::string, const LoggedEvent*> by_id_;
  std::map<std::string, std::map<int64_t, const LoggedEvent*>> by_number_;
  std::set<const LoggedEvent*> was_sent_;
};

// The new events of a request that are in the log.
struct LoggedRequest {
  SteadyTime begun, answered;
  int64_t first = 0, last = 0;  // sequences
};

// Adds those of one client.
void CheckWriter(const std::vector<SentRequest>& requests, Ledger* ledger,
                 std::vector<LoggedRequest>* all) {
  std::set<std::string> sent_before;
  int64_t last = 0;
  for (const SentRequest& request : requests) {
    const bool acknowledged = !request.sequences.empty();
    int events = 0, logged_events = 0;
    LoggedRequest logged_request = {request.begun, request.answered};
    for (size_t i = 0; i < request.events.size(); ++i) {
      const v1::Rating& event = request.events[i];
      const LoggedEvent* const logged = ledger->Find(event.event_id());
      ledger->Check(logged, event, acknowledged, event.event_id());
      if (acknowledged) ledger->CheckPlace(logged, request.sequences[i], event.event_id());
      // One that is sent again keeps its place.
      if (!sent_before.insert(event.event_id()).second) continue;
      ++events;
      if (logged == nullptr) continue;
      if (++logged_events == 1) {
        EXPECT_GT(logged->sequence, last) << "out of order: " << event.event_id();
        logged_request.first = logged->sequence;
      } else {
        EXPECT_EQ(logged->sequence, last + 1) << "not behind the one before: " << event.event_id();
      }
      last = logged_request.last = logged->sequence;
    }
    EXPECT_TRUE(logged_events == 0 || logged_events == events)
        << "a part of a request: " << request.events.front().event_id();
    if (acknowledged && logged_events > 0) all->push_back(logged_request);
  }
}

void CheckStream(const SentStream& stream, Ledger* ledger) {
  const auto& numbers = ledger->OfProducer(stream.producer);
  int64_t last_sequence = 0;
  for (const auto& [number, event] : numbers) {
    EXPECT_GT(event->sequence, last_sequence) << "out of order: " << number;
    last_sequence = event->sequence;
  }
  // No hole: whatever is there, acknowledged or not, came in order.
  const int64_t last_number = numbers.empty() ? 0 : numbers.rbegin()->first;
  EXPECT_EQ(last_number, std::ssize(numbers)) << "a hole in " << stream.producer;
  for (int64_t number = 1; number <= std::ssize(stream.events); ++number) {
    const auto found = numbers.find(number);
    ledger->Check(found != numbers.end() ? found->second : nullptr,
                  stream.events[static_cast<size_t>(number) - 1], number <= stream.acknowledged,
                  absl::StrCat(stream.producer, " ", number));
  }
  for (const auto& [number, sequence] : stream.sequences) {
    const auto found = numbers.find(number);
    ledger->CheckPlace(found != numbers.end() ? found->second : nullptr, sequence,
                       absl::StrCat(stream.producer, " ", number));
  }
}

// What was answered before another was begun stands before it.
void CheckRealTime(std::vector<LoggedRequest> requests) {
  std::vector<LoggedRequest> answered = requests;
  std::sort(requests.begin(), requests.end(),
            [](const auto& a, const auto& b) { return a.begun < b.begun; });
  std::sort(answered.begin(), answered.end(),
            [](const auto& a, const auto& b) { return a.answered < b.answered; });
  int64_t last = 0;
  auto next = answered.begin();
  for (const LoggedRequest& request : requests) {
    for (; next != answered.end() && next->answered < request.begun; ++next) {
      last = std::max(last, next->last);
    }
    EXPECT_GT(request.first, last) << "before one that was answered before it was begun";
  }
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
                     const std::vector<std::vector<SentRequest>>& writers,
                     const std::vector<SentStream>& streams) {
  Verdict verdict;
  Ledger ledger(log, &verdict);
  std::vector<LoggedRequest> requests;
  for (const auto& writer : writers) CheckWriter(writer, &ledger, &requests);
  for (const SentStream& stream : streams) CheckStream(stream, &ledger);
  ledger.CheckThatAllWereSent();
  CheckRealTime(std::move(requests));
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
  size_t all_unseen = 0;
  for (const auto& [user, seen] : rated) {
    v1::RecommendItemsRequest request;
    request.set_user_id(user);
    request.set_max_items(kMaxItems);
    v1::RecommendItemsResponse response;
    grpc::ClientContext context;
    const grpc::Status status = stub->RecommendItems(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    std::set<std::string> unseen = items;
    for (const std::string& item : seen) unseen.erase(item);
    all_unseen += unseen.size();
    std::set<std::string> recommended;
    for (const v1::ScoredItem& item : response.items()) recommended.insert(item.item_id());
    EXPECT_EQ(recommended, unseen) << user;
  }
  EXPECT_GT(all_unseen, 0u);
  EXPECT_LT(items.size(), static_cast<size_t>(kMaxItems));
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
