#include "tests/crash/clients.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "factord/v1/recommendation_service.grpc.pb.h"
#include "tests/e2e/server_process.h"

namespace factord {
namespace {

constexpr uint64_t kLargeRequest = 2'000;

// The next one after so many of the same client.
v1::Rating RandomRating(uint64_t sent, std::mt19937_64& random) {
  v1::Rating rating;
  SetRating(absl::StrCat("user ", random() % (kUsers + sent / kEventsAUser)),
            absl::StrCat("item ", random() % std::min(kItems + sent / kEventsAnItem,
                                                      kMaxItems - uint64_t{1})),
            static_cast<float>(random() % 11) / 2, &rating);
  if (random() % 4 == 0) {
    rating.clear_rating();
    rating.set_event_type(kEventType);
  }
  if (random() % 2 == 0) {
    rating.mutable_event_time()->set_seconds(static_cast<int64_t>(random() % 2'000'000'000));
    rating.mutable_event_time()->set_nanos(123'456'000);
  }
  return rating;
}

// What was acknowledged last can be seen.
void Look(const std::shared_ptr<grpc::Channel>& channel, const v1::Rating& last, int64_t sequence,
          Address* address) {
  v1::RecommendItemsRequest request;
  request.set_user_id(last.user_id());
  request.set_max_items(kMaxItems);
  v1::RecommendItemsResponse response;
  grpc::ClientContext context;
  const grpc::Status status =
      v1::RecommendationService::NewStub(channel)->RecommendItems(&context, request, &response);
  if (!status.ok()) return address->CheckUnanswered(status);
  EXPECT_GE(response.sequence(), sequence);
  for (const v1::ScoredItem& item : response.items()) {
    EXPECT_NE(item.item_id(), last.item_id()) << "rated, and recommended";
  }
}

struct Answer {
  grpc::Status status;
  std::vector<int64_t> sequences;
};

Answer Record(const std::shared_ptr<grpc::Channel>& channel,
              const v1::RecordRatingsRequest& request) {
  Answer answer;
  v1::RecordRatingsResponse response;
  grpc::ClientContext context;
  answer.status = v1::RatingService::NewStub(channel)->RecordRatings(&context, request, &response);
  if (!answer.status.ok()) return answer;
  EXPECT_EQ(response.results_size(), request.events_size());
  for (const v1::RatingResult& result : response.results()) {
    EXPECT_NE(result.outcome(), v1::RatingResult::OUTCOME_REJECTED);
    answer.sequences.push_back(result.sequence());
  }
  return answer;
}

}  // namespace

void Address::Set(std::shared_ptr<grpc::Channel> channel) {
  std::lock_guard lock(mu_);
  channel_ = std::move(channel);
  end_is_expected_ = channel_ == nullptr;
  ++generation_;
  changed_.notify_all();
}

void Address::ExpectEnd() {
  std::lock_guard lock(mu_);
  end_is_expected_ = true;
}

void Address::CheckUnanswered(const grpc::Status& status) {
  std::lock_guard lock(mu_);
  EXPECT_TRUE(end_is_expected_) << status.error_message();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
}

std::shared_ptr<grpc::Channel> Address::WaitForNewer(int* generation) {
  std::unique_lock lock(mu_);
  ++waiting_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return generation_ > *generation; });
  --waiting_;
  *generation = generation_;
  return channel_;
}

void Address::AwaitWaiting(int clients) {
  std::unique_lock lock(mu_);
  EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return waiting_ >= clients; }))
      << "clients hang";
}

void Counts::AddUnanswered(SteadyTime begun) {
  std::lock_guard lock(mu_);
  unanswered_ = std::min(begun, unanswered_.value_or(begun));
}

std::optional<SteadyTime> Counts::TakeUnanswered() {
  std::lock_guard lock(mu_);
  return std::exchange(unanswered_, std::nullopt);
}

UnaryWriter::UnaryWriter(Address* address, Counts* counts, uint64_t seed, std::string name)
    : address_(address), counts_(counts), random_(seed), name_(std::move(name)), thread_([this] {
        Write();
      }) {}

SentRequest UnaryWriter::MakeRequest() {
  SentRequest request;
  // Few are large: more than a block of the WAL, and than a record of the log.
  for (uint64_t n = random_() % 400 == 0 ? kLargeRequest : 1 + random_() % 5; n > 0; --n) {
    request.events.push_back(RandomRating(static_cast<uint64_t>(events_), random_));
    request.events.back().set_event_id(absl::StrCat(name_, "-", events_++));
  }
  // Now and then an event of a while ago, once more: well within the dedupe window.
  if (!sent_.empty() && random_() % 10 == 0) {
    const size_t back = 1 + random_() % std::min<size_t>(sent_.size(), 300);
    request.events.push_back(sent_[sent_.size() - back].events.front());
  }
  return request;
}

void UnaryWriter::Write() {
  int generation = 0;
  auto channel = address_->WaitForNewer(&generation);
  while (channel != nullptr) {
    sent_.push_back(MakeRequest());
    SentRequest& sent = sent_.back();
    v1::RecordRatingsRequest request;
    request.mutable_events()->Add(sent.events.begin(), sent.events.end());
    sent.begun = std::chrono::steady_clock::now();
    std::vector<Answer> others;
    while (channel != nullptr) {
      std::future<Answer> other;
      if (random_() % 8 == 0) {
        other = std::async(std::launch::async, [&] { return Record(channel, request); });
      }
      const SteadyTime begun = std::chrono::steady_clock::now();
      const Answer answer = Record(channel, request);
      if (other.valid()) {
        others.push_back(other.get());
        if (!others.back().status.ok()) address_->CheckUnanswered(others.back().status);
      }
      if (answer.status.ok()) {
        sent.sequences = answer.sequences;
        break;
      }
      address_->CheckUnanswered(answer.status);
      counts_->AddUnanswered(begun);
      channel = address_->WaitForNewer(&generation);
    }
    for (const Answer& other : others) {
      if (!other.status.ok()) continue;
      if (sent.sequences.empty()) sent.sequences = other.sequences;
      EXPECT_EQ(other.sequences, sent.sequences) << sent.events.front().event_id();
    }
    sent.answered = std::chrono::steady_clock::now();
    if (channel == nullptr) return;  // the last one may have no answer
    counts_->acknowledged += request.events_size();
    if (random_() % 20 == 0) Look(channel, sent.events.back(), sent.sequences.back(), address_);
  }
}

StreamWriter::StreamWriter(Address* address, Counts* counts, uint64_t seed, std::string producer)
    : address_(address),
      counts_(counts),
      random_(seed),
      sent_({.producer = std::move(producer)}),
      thread_([this] { Write(); }) {}

void StreamWriter::Write() {
  int generation = 0;
  for (auto channel = address_->WaitForNewer(&generation); channel != nullptr;
       channel = address_->WaitForNewer(&generation)) {
    if (const auto begun = Stream(channel)) counts_->AddUnanswered(*begun);
  }
}

std::optional<SteadyTime> StreamWriter::Stream(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  auto stream = v1::RatingService::NewStub(channel)->StreamRatings(&context);
  v1::StreamRatingsRequest message;
  v1::StreamRatingsResponse response;
  message.mutable_start()->set_producer_id(sent_.producer);
  if (!stream->Write(message) || !stream->Read(&response)) {
    address_->CheckUnanswered(stream->Finish());
    return std::nullopt;
  }
  // Everything acknowledged has survived; the server may have taken more than it could say.
  const int64_t last = response.started().last_number();
  if (last < sent_.acknowledged) {
    counts_->lost += sent_.acknowledged - last;
    ADD_FAILURE() << "lost: " << sent_.producer << " has " << sent_.acknowledged
                  << " acknowledged, " << last << " are there";
  }
  EXPECT_LE(last, std::ssize(sent_.events));
  int64_t next = (random_() % 2 == 0 ? last : sent_.acknowledged) + 1;
  std::deque<std::pair<int64_t, SteadyTime>>
      batches;  // the last number of each, and when it was sent
  bool open = true;
  while (open) {
    // Three batches in flight.
    for (int b = 0; b < 3 && open; ++b) {
      message.mutable_batch()->Clear();
      message.mutable_batch()->set_first_number(next);
      for (uint64_t n = 1 + random_() % 20; n > 0; --n, ++next) {
        if (next > std::ssize(sent_.events)) {
          sent_.events.push_back(RandomRating(sent_.events.size(), random_));
        }
        *message.mutable_batch()->add_events() = sent_.events[static_cast<size_t>(next) - 1];
      }
      batches.emplace_back(next - 1, std::chrono::steady_clock::now());
      open = stream->Write(message);
    }
    while (open && sent_.acknowledged < next - 1) {
      open = stream->Read(&response);
      if (open) Acknowledge(response.ack());
    }
    if (open && random_() % 20 == 0) {
      Look(channel, sent_.events[static_cast<size_t>(next) - 2], response.ack().last_sequence(),
           address_);
    }
  }
  // Finish waits for ever for what has come and was not read, after a Write that failed, say.
  while (stream->Read(&response)) Acknowledge(response.ack());
  address_->CheckUnanswered(stream->Finish());
  while (!batches.empty() && batches.front().first <= sent_.acknowledged) batches.pop_front();
  return !batches.empty() ? std::optional(batches.front().second) : std::nullopt;
}

void StreamWriter::Acknowledge(const v1::StreamAck& ack) {
  EXPECT_EQ(ack.rejected_size(), 0);
  counts_->acknowledged += ack.last_number() - sent_.acknowledged;
  sent_.acknowledged = ack.last_number();
  if (ack.duplicates() == 0) sent_.sequences[ack.last_number()] = ack.last_sequence();
}

}  // namespace factord
