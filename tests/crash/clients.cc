#include "tests/crash/clients.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "factord/v1/recommendation_service.grpc.pb.h"
#include "tests/e2e/server_process.h"

namespace factord {
namespace {

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
  for (uint64_t n = 1 + random_() % 5; n > 0; --n) {
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
    v1::RecordRatingsResponse response;
    sent.begun = std::chrono::steady_clock::now();
    while (channel != nullptr) {
      grpc::ClientContext context;
      const SteadyTime begun = std::chrono::steady_clock::now();
      const grpc::Status status =
          v1::RatingService::NewStub(channel)->RecordRatings(&context, request, &response);
      if (status.ok()) break;
      address_->CheckUnanswered(status);
      counts_->AddUnanswered(begun);
      channel = address_->WaitForNewer(&generation);
    }
    if (channel == nullptr) return;  // the last one has no answer
    sent.answered = std::chrono::steady_clock::now();
    ASSERT_EQ(response.results_size(), request.events_size());
    for (const v1::RatingResult& result : response.results()) {
      ASSERT_NE(result.outcome(), v1::RatingResult::OUTCOME_REJECTED);
      sent.sequences.push_back(result.sequence());
    }
    counts_->acknowledged += request.events_size();
    if (random_() % 20 == 0) Look(channel, sent);
  }
}

void UnaryWriter::Look(const std::shared_ptr<grpc::Channel>& channel, const SentRequest& last) {
  v1::RecommendItemsRequest request;
  request.set_user_id(last.events.back().user_id());
  request.set_max_items(kMaxItems);
  v1::RecommendItemsResponse response;
  grpc::ClientContext context;
  const grpc::Status status =
      v1::RecommendationService::NewStub(channel)->RecommendItems(&context, request, &response);
  if (!status.ok()) return address_->CheckUnanswered(status);
  EXPECT_GE(response.sequence(), last.sequences.back());
  for (const v1::ScoredItem& item : response.items()) {
    EXPECT_NE(item.item_id(), last.events.back().item_id()) << "rated, and recommended";
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
}

}  // namespace factord
