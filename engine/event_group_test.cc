// Groups of the writer, one after the other, without a writer.
#include "engine/event_group.h"

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/test_util.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

class EventGroupTest : public ::testing::Test {
 protected:
  EventGroup NewGroup(bool disk_is_full = false) {
    return {&state_, disk_is_full, Admission(limits_, &state_, 0)};
  }
  // Adds a request of one event; its status will be in statuses_.
  void Add(EventGroup* group, const std::shared_ptr<bool>& series, bool allow_partial = true,
           const std::string& user = "u") {
    const OwnedRating& kept = sent_.emplace_back(OwnedRating{user, "i"});
    RecordRequest request{.events = {ToEvent(kept)}, .allow_partial = allow_partial};
    request.refused_before = series;
    request.done = [this](const RecordResult& result) {
      statuses_.push_back(result.status.code());
    };
    group->Add(std::move(request));
  }
  void Answer(EventGroup* group) {
    for (const EventGroup::Answer& answer : group->TakeAnswers()) answer(absl::OkStatus());
  }

  StateLimits limits_;
  ModelState state_{ModelConfig()};
  std::deque<OwnedRating> sent_;
  std::vector<absl::StatusCode> statuses_;
};

// A request that is refused gives back the ids that it took before: the next one has them, with its
// own events.
TEST_F(EventGroupTest, ARefusedRequestGivesBackItsIds) {
  EventGroup group = NewGroup();
  const auto add = [&](const std::vector<OwnedRating>& ratings) {
    RecordRequest request;
    for (const OwnedRating& rating : ratings) {
      request.events.push_back(ToEvent(sent_.emplace_back(rating)));
    }
    request.done = [this](const RecordResult& result) {
      statuses_.push_back(result.status.code());
    };
    group.Add(std::move(request));
  };
  add({{"u", "i", 4, "taken"}, {"u", "j", 4}});
  add({{"u", "i", 1, "a"}, {"u", "j", 2}, {"u", "i", 1, "b"}, {"u", "k", 3, "taken"}});  // refused
  EXPECT_EQ(group.events().size(), 2u);
  add({{"u", "j", 5, "b"}, {"u", "j", 5, "a"}});
  add({{"u", "j", 5, "a"}, {"u", "i", 4, "taken"}});  // duplicates
  add({{"u", "j", 4, "a"}});                          // conflict
  Answer(&group);
  EXPECT_EQ(statuses_, (std::vector{absl::StatusCode::kOk, absl::StatusCode::kAlreadyExists,
                                    absl::StatusCode::kOk, absl::StatusCode::kOk,
                                    absl::StatusCode::kAlreadyExists}));
  EXPECT_EQ(group.tally().duplicates, 2);
  EXPECT_EQ(group.tally().conflicts, 2);
  ASSERT_EQ(group.keys().size(), group.events().size());
  ASSERT_EQ(group.events().size(), 4u);
  for (size_t i = 0; i < group.events().size(); ++i) {
    EXPECT_EQ(group.events()[i].sequence, static_cast<int64_t>(i) + 1);
    if (group.events()[i].event_id.empty()) continue;
    EXPECT_EQ(group.keys()[i], DedupeWindow::KeyOf(group.events()[i].event_id)) << i;
  }
}

// A stream lost a batch for good: the disk was full when the batch was looked at and not when the
// next one was, whose numbers then passed over it.
TEST_F(EventGroupTest, NothingOfASeriesIsTakenAfterARefusalAlsoByALaterGroup) {
  const auto series = std::make_shared<bool>(false), other = std::make_shared<bool>(false);
  EventGroup full = NewGroup(/*disk_is_full=*/true);
  Add(&full, series);
  Answer(&full);
  EventGroup next = NewGroup();
  Add(&next, series);
  Add(&next, other);
  Add(&next, nullptr);
  Answer(&next);
  EXPECT_EQ(statuses_,
            (std::vector{absl::StatusCode::kFailedPrecondition, absl::StatusCode::kAborted,
                         absl::StatusCode::kOk, absl::StatusCode::kOk}));
  EXPECT_EQ(next.events().size(), 2u);
  EXPECT_EQ(next.tally().refusals.disk, 0);
}

TEST_F(EventGroupTest, ARefusalForALimitEndsASeriesToo) {
  limits_.max_users = 1;
  const auto series = std::make_shared<bool>(false);
  EventGroup group = NewGroup();
  Add(&group, series);
  Add(&group, series, /*allow_partial=*/false, "another");
  Add(&group, series);
  Answer(&group);
  EXPECT_EQ(statuses_, (std::vector{absl::StatusCode::kOk, absl::StatusCode::kResourceExhausted,
                                    absl::StatusCode::kAborted}));
  EXPECT_EQ(group.events().size(), 1u);
}

TEST_F(EventGroupTest, AnEventThatIsLeftOutDoesNotEndASeries) {
  limits_.max_users = 1;
  const auto series = std::make_shared<bool>(false);
  EventGroup group = NewGroup();
  Add(&group, series);
  Add(&group, series, /*allow_partial=*/true, "another");
  Add(&group, series);
  Answer(&group);
  EXPECT_EQ(statuses_, (std::vector(3, absl::StatusCode::kOk)));
  EXPECT_EQ(group.events().size(), 2u);
}

}  // namespace
}  // namespace factord
