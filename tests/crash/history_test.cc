// What CheckHistory must not let pass.
#include "tests/crash/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace factord {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::Rating Rated(const std::string& event_id, const std::string& item) {
  v1::Rating rating;
  SetRating("user", item, 3, &rating);
  rating.set_event_id(event_id);
  rating.mutable_event_time()->set_seconds(1);
  return rating;
}

// A writer's two requests, of which the second has an event of the first once more, another's one
// between them, and a stream's three events around those.
class HistoryTest : public ::testing::Test {
 protected:
  HistoryTest() {
    const SteadyTime start;
    const auto second = [start](int n) { return start + std::chrono::seconds(n); };
    writers_ = {{{{Rated("a-0", "x"), Rated("a-1", "y")}, second(0), second(2), {2, 3}},
                 {{Rated("a-2", "z"), Rated("a-0", "x")}, second(5), second(6), {6, 2}}},
                {{{Rated("b-0", "x")}, second(3), second(4), {5}}}};
    streams_ = {{.producer = "p",
                 .events = {Rated("", "x"), Rated("", "y"), Rated("", "z")},
                 .acknowledged = 3,
                 .sequences = {{1, 1}, {3, 7}}}};
    Put(streams_[0].events[0], 1);
    Put(writers_[0][0].events[0]);
    Put(writers_[0][0].events[1]);
    Put(streams_[0].events[1], 2);
    Put(writers_[1][0].events[0]);
    Put(writers_[0][1].events[0]);
    Put(streams_[0].events[2], 3);
  }

  // At the end of the log; `number`: of the stream.
  void Put(const v1::Rating& rating, int64_t number = 0) {
    log_.push_back({.sequence = std::ssize(log_) + 1,
                    .user = rating.user_id(),
                    .item = rating.item_id(),
                    .rating = rating.rating(),
                    .time_micros = 1'000'000,
                    .time_is_servers = false,
                    .event_id = rating.event_id(),
                    .producer = number > 0 ? "p" : "",
                    .number = number});
  }
  // Takes one out, and closes the gap.
  void Drop(size_t index) {
    log_.erase(log_.begin() + static_cast<std::ptrdiff_t>(index));
    Number();
  }
  void Swap(size_t a, size_t b) {
    std::swap(log_[a], log_[b]);
    Number();
  }
  void Number() {
    for (size_t i = 0; i < log_.size(); ++i) log_[i].sequence = static_cast<int64_t>(i) + 1;
  }
  // Writers and streams were told what the log says now.
  void TellSequences() {
    for (const LoggedEvent& event : log_) {
      const auto told = streams_[0].sequences.find(event.number);
      if (told != streams_[0].sequences.end()) told->second = event.sequence;
    }
    for (auto& writer : writers_) {
      for (SentRequest& request : writer) {
        for (size_t i = 0; i < request.sequences.size(); ++i) {
          for (const LoggedEvent& event : log_) {
            if (event.event_id == request.events[i].event_id()) {
              request.sequences[i] = event.sequence;
            }
          }
        }
      }
    }
  }

  std::vector<std::string> Failures() {
    ::testing::TestPartResultArray results;
    {
      ::testing::ScopedFakeTestPartResultReporter reporter(
          ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results);
      verdict_ = CheckHistory(log_, writers_, streams_);
    }
    std::vector<std::string> messages;
    for (int i = 0; i < results.size(); ++i)
      messages.push_back(results.GetTestPartResult(i).message());
    return messages;
  }
  void ExpectFailure(const std::string& message) {
    EXPECT_THAT(Failures(), Contains(HasSubstr(message)));
  }

  std::vector<LoggedEvent> log_;
  std::vector<std::vector<SentRequest>> writers_;
  std::vector<SentStream> streams_;
  Verdict verdict_;
};

TEST_F(HistoryTest, OneThatIsAsItWasSentPasses) {
  EXPECT_THAT(Failures(), IsEmpty());
  EXPECT_EQ(verdict_.lost, 0);
  EXPECT_EQ(verdict_.doubled, 0);
}

TEST_F(HistoryTest, WhatHasNoAnswerMayBeThereOrNot) {
  writers_[0][1].sequences.clear();
  streams_[0].acknowledged = 2;
  EXPECT_THAT(Failures(), IsEmpty());
  Drop(6);
  Drop(5);
  EXPECT_THAT(Failures(), IsEmpty());
}

TEST_F(HistoryTest, LostEvents) {
  Drop(5);
  TellSequences();
  ExpectFailure("lost: a-2");
  EXPECT_EQ(verdict_.lost, 1);
}

TEST_F(HistoryTest, LostEventsOfAStream) {
  Drop(6);
  ExpectFailure("lost: p 3");
  EXPECT_EQ(verdict_.lost, 1);
}

TEST_F(HistoryTest, EventsTwice) {
  Put(writers_[1][0].events[0]);
  ExpectFailure("twice: b-0");
  EXPECT_EQ(verdict_.doubled, 1);
}

TEST_F(HistoryTest, NumbersTwice) {
  Put(streams_[0].events[1], 2);
  ExpectFailure("twice: p 2");
  EXPECT_EQ(verdict_.doubled, 1);
}

TEST_F(HistoryTest, AHole) {
  log_.back().sequence = 8;
  ExpectFailure("a hole");
}

TEST_F(HistoryTest, AHoleInAStream) {
  streams_[0].acknowledged = 1;
  Drop(3);
  TellSequences();
  ExpectFailure("a hole in p");
}

TEST_F(HistoryTest, OtherContent) {
  log_[4].rating = 4;
  ExpectFailure("not as it was sent: b-0");
  EXPECT_EQ(verdict_.lost, 1);
}

TEST_F(HistoryTest, OtherContentOfWhatHadNoAnswer) {
  writers_[0][1].sequences.clear();
  log_[5].item = "y";
  ExpectFailure("not as it was sent: a-2");
}

TEST_F(HistoryTest, AnotherPlaceThanWasTold) {
  Swap(4, 5);
  ExpectFailure("was put at 5, and is at 6");
}

TEST_F(HistoryTest, AnotherPlaceThanAStreamWasTold) {
  TellSequences();
  streams_[0].sequences[3] = 6;
  ExpectFailure("p 3 was put at 6, and is at 7");
}

TEST_F(HistoryTest, OneClientsRequestsOutOfOrder) {
  std::rotate(log_.begin() + 1, log_.begin() + 5, log_.begin() + 6);  // a-2 before a-0 and a-1
  Number();
  TellSequences();
  ExpectFailure("out of order: a-2");
}

TEST_F(HistoryTest, AStreamOutOfOrder) {
  Swap(3, 6);
  ExpectFailure("out of order: 3");
}

TEST_F(HistoryTest, ARequestThatIsNotInOnePiece) {
  Swap(2, 3);
  TellSequences();
  ExpectFailure("not behind the one before: a-1");
}

TEST_F(HistoryTest, APartOfARequest) {
  writers_[0][0].sequences.clear();
  Drop(2);
  TellSequences();
  ExpectFailure("a part of a request: a-0");
}

TEST_F(HistoryTest, ARequestBeforeOneThatWasAnsweredBeforeItWasBegun) {
  Swap(4, 0);
  TellSequences();
  ExpectFailure("before one that was answered before it was begun");
}

TEST_F(HistoryTest, WhatNobodyHasSent) {
  Put(Rated("c-0", "x"));
  ExpectFailure("nobody has sent sequence 8");
}

}  // namespace
}  // namespace factord
