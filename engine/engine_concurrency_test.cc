// Many clients at once, for ThreadSanitizer: writers, readers, snapshots, hashes, backups, and a
// close.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/temp_folder.h"
#include "engine/engine.h"
#include "engine/test_util.h"
#include "engine/verify.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

// However much is written meanwhile: a pinned view stays as it is, row by row, and a
// recommendation's scores are those of its rows.
void CheckPinnedView(Engine& engine, const std::string& user) {
  const auto token = engine.PinItems();
  ASSERT_TRUE(token.ok()) << token.status();
  const auto page = engine.ItemFactors(*token, 0, 1000);
  ASSERT_TRUE(page.ok()) << page.status();
  const auto answer = engine.Recommend({.user_id = user,
                                        .max_items = 1000,
                                        .exclude_rated = false,
                                        .view_token = *token,
                                        .include_user_factors = true});
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_FALSE(answer->cold_start);
  ASSERT_EQ(answer->sequence, page->sequence);
  std::map<absl::string_view, float> scores;
  for (const auto& item : answer->items) scores[item.item_id] = item.score;
  ASSERT_EQ(scores.size(), page->rows.size());
  const auto again = engine.ItemFactors(*token, 0, 1000);
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_EQ(again->rows.size(), page->rows.size());
  for (size_t i = 0; i < page->rows.size(); ++i) {
    const FactorPage::Row& row = page->rows[i];
    ASSERT_EQ(row.factors, again->rows[i].factors);
    ASSERT_EQ(row.ranking_factors, again->rows[i].ranking_factors);
    const std::vector<float>& scored =
        row.ranking_factors.empty() ? row.factors : row.ranking_factors;
    float score = row.ranking_bias;
    for (size_t k = 0; k < answer->user_factors.size(); ++k) {
      score += answer->user_factors[k] * scored[k];
    }
    ASSERT_NEAR(scores[row.id], score, 1e-4F * (1 + std::abs(score))) << row.id;
  }
}

TEST(EngineConcurrencyTest, EverythingAtOnce) {
  TempFolder dir;
  EngineOptions options = TestOptions(dir / "data");
  options.log_retention = LogRetention::kAll;
  options.durability = Durability::kAsync;
  options.snapshot_interval = std::chrono::milliseconds(3);
  options.backup_dir = dir.path();
  options.max_pinned_views = 128;
  options.pinned_view_ttl = std::chrono::seconds(30);
  auto engine = OpenOrDie(options);
  std::atomic<int> writers_left{3};
  std::vector<std::thread> threads;
  for (uint32_t w = 0; w < 3; ++w) {
    threads.emplace_back([&, w] {
      for (uint32_t i = 0; i < 150; ++i) {
        std::vector<OwnedRating> batch = RandomRatings(w * 1000 + i, 10);
        for (OwnedRating& rating : batch) rating.user += "-" + std::to_string(w);
        const RecordResult result = Record(*engine, batch);
        ASSERT_TRUE(result.status.ok()) << result.status;
        // Read your own write.
        const auto answer = engine->Recommend({.user_id = batch.back().user, .max_items = 1000});
        ASSERT_TRUE(answer.ok());
        ASSERT_GE(answer->sequence, result.last_sequence);
        for (const auto& item : answer->items) ASSERT_NE(item.item_id, batch.back().item);
        if (i % 10 == 5) CheckPinnedView(*engine, batch.back().user);
      }
      --writers_left;
    });
  }
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&] {
      int64_t last = 0;
      while (writers_left > 0) {
        const auto predictions =
            engine->Predict({{"u1-0", "i1"}, {"u2-1", "i2"}, {"nobody", "i3"}}, /*strict=*/false);
        ASSERT_GE(predictions->sequence, last);
        last = predictions->sequence;
        engine->ListTopics(3, 0);
        engine->UserFactors(0, 20);
        const ModelInfo info = engine->Info();
        ASSERT_GE(info.sequence, last);
      }
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(engine->CreateSnapshot().ok());
      ASSERT_TRUE(engine->ComputeHash().ok());
      ASSERT_TRUE(engine->Backup("b" + std::to_string(i)).ok());
    }
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(engine->Info().sequence, 3 * 150 * 10);
  const std::string hash = HashOf(*engine);
  ASSERT_TRUE(engine->Close().ok());
  engine.reset();
  const auto verified = VerifyFolder(dir / "data");
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->hash.ToHex(), hash);
}

struct ItemRow {
  std::string id;
  std::vector<float> factors, ranking_factors;
  float bias = 0, ranking_bias = 0;
  int64_t ratings = 0;
  friend bool operator==(const ItemRow& a, const ItemRow& b) = default;
};

// All items at one sequence.
struct ItemView {
  int64_t sequence = 0;
  std::vector<ItemRow> rows;
};

// As they are now, read a moment later.
ItemView ViewItems(Engine& engine, std::chrono::milliseconds later) {
  const auto token = engine.PinItems();
  EXPECT_TRUE(token.ok()) << token.status();
  std::this_thread::sleep_for(later);
  const auto page = engine.ItemFactors(token.value_or(""), 0, 1000);
  EXPECT_TRUE(page.ok()) << page.status();
  ItemView view;
  if (!page.ok()) return view;
  view.sequence = page->sequence;
  for (const FactorPage::Row& row : page->rows) {
    view.rows.push_back({std::string(row.id), row.factors, row.ranking_factors, row.bias,
                         row.ranking_bias, row.ratings});
  }
  return view;
}

struct UserRow {
  std::string id;
  std::vector<float> factors;
  float bias = 0;
  int64_t ratings = 0;
  friend bool operator==(const UserRow& a, const UserRow& b) = default;
};

// Each at this sequence, or a later one.
struct UserRows {
  int64_t sequence = 0;
  std::vector<UserRow> rows;
};

UserRows ReadUsers(const Engine& engine) {
  const FactorPage page = engine.UserFactors(0, 1000);
  UserRows users = {.sequence = page.sequence};
  for (const FactorPage::Row& row : page.rows) {
    users.rows.push_back({std::string(row.id), row.factors, row.bias, row.ratings});
  }
  return users;
}

// What the row of each user has been, by the sequence from which on.
class UserHistory {
 public:
  void Add(const UserRows& users) {
    for (const UserRow& row : users.rows) {
      std::map<int64_t, UserRow>& states = by_id_[row.id];
      if (states.empty() || states.rbegin()->second != row) states[users.sequence] = row;
    }
  }
  // Each row is one that there was at the sequence of the read or later, and none is missing.
  void Check(const UserRows& read) const {
    std::map<std::string, UserRow> rows;
    for (const UserRow& row : read.rows) rows[row.id] = row;
    for (const auto& [id, states] : by_id_) {
      SCOPED_TRACE(absl::StrCat(id, " at ", read.sequence));
      auto state = states.upper_bound(read.sequence);
      const bool was_there = state != states.begin();
      if (was_there) --state;
      const auto row = rows.find(id);
      EXPECT_TRUE(row != rows.end() || !was_there);
      if (row == rows.end()) continue;
      const bool is_just_made = !was_there && row->second.ratings == 0;
      EXPECT_TRUE(is_just_made || std::any_of(state, states.end(), [&](const auto& entry) {
                    return entry.second == row->second;
                  }));
    }
  }

 private:
  std::map<std::string, std::map<int64_t, UserRow>> by_id_;
};

// Neither torn nor stale: what is read amid writes and snapshots has all that was acknowledged
// before, and is, bit for bit, what one thread alone makes of the events up to its sequence.
TEST(EngineConcurrencyTest, EachViewIsTheModelAtItsSequence) {
  constexpr int kWriters = 3, kBatches = 60, kEventsABatch = 10;
  constexpr int kBatchesAView = 3, kMoreViews = 60;  // 120 in all
  TempFolder dir;
  EngineOptions options = TestOptions(dir / "data");
  options.durability = Durability::kAsync;
  options.snapshot_interval = std::chrono::milliseconds(3);
  options.max_pinned_views = 128;
  const auto engine = OpenOrDie(options);
  ASSERT_NE(engine, nullptr);
  std::atomic<int> writers_left{kWriters};
  std::atomic<int64_t> acknowledged{0};
  std::mutex mu;
  std::map<int64_t, OwnedRating> events;  // by sequence
  std::map<int64_t, ItemView> views;
  const auto view_items = [&] {
    const int64_t at_least = acknowledged;
    ItemView view = ViewItems(*engine, std::chrono::milliseconds(2));
    EXPECT_GE(view.sequence, at_least);
    const std::lock_guard lock(mu);
    const auto [seen, is_new] = views.try_emplace(view.sequence, view);
    EXPECT_EQ(seen->second.rows, view.rows);
  };
  std::vector<UserRows> user_reads;
  const auto view_users = [&] {
    const int64_t at_least = acknowledged;
    UserRows users = ReadUsers(*engine);
    EXPECT_GE(users.sequence, at_least);
    const std::lock_guard lock(mu);
    user_reads.push_back(std::move(users));
  };
  std::vector<std::thread> threads;
  for (uint32_t w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w] {
      for (uint32_t i = 0; i < kBatches; ++i) {
        const std::vector<OwnedRating> batch = RandomRatings(w * 1'000 + i, kEventsABatch);
        const RecordResult result = Record(*engine, batch);
        EXPECT_TRUE(result.status.ok()) << result.status;
        for (int64_t last = acknowledged;
             last < result.last_sequence &&
             !acknowledged.compare_exchange_weak(last, result.last_sequence);) {
        }
        {
          const std::lock_guard lock(mu);
          for (size_t e = 0; e < result.events.size(); ++e) {
            events[result.events[e].sequence] = batch[e];
          }
        }
        if (i % kBatchesAView == 0) view_items();
        view_users();
      }
      --writers_left;
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; writers_left > 0 && i < kMoreViews; ++i) view_items();
  });
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(events.size(), kWriters * kBatches * kEventsABatch);
  EXPECT_GT(views.size(), 20U);

  options.data_dir = dir / "alone";
  const auto alone = OpenOrDie(options);
  ASSERT_NE(alone, nullptr);
  UserHistory users;
  for (const auto& [sequence, event] : events) {
    ASSERT_EQ(Record(*alone, {event}).last_sequence, sequence);
    users.Add(ReadUsers(*alone));
    if (const auto view = views.find(sequence); view != views.end()) {
      const ItemView expected = ViewItems(*alone, std::chrono::milliseconds(0));
      ASSERT_EQ(expected.sequence, sequence);
      ASSERT_EQ(view->second.rows, expected.rows) << sequence;
    }
  }
  for (const UserRows& read : user_reads) users.Check(read);
}

// A close amid snapshots and records that have no answer yet: each gets one, and what was
// acknowledged is there. Reads end before it, as they must.
TEST(EngineConcurrencyTest, ClosesAmidWhatIsNotAnswered) {
  TempFolder dir;
  EngineOptions options = TestOptions(dir / "data");
  options.log_retention = LogRetention::kAll;
  options.snapshot_interval = std::chrono::milliseconds(1);
  int64_t acknowledged = 0;
  for (uint32_t round = 0; round < 20; ++round) {
    auto engine = OpenOrDie(options);
    ASSERT_NE(engine, nullptr);
    ASSERT_GE(engine->Info().sequence, acknowledged);
    std::atomic<int64_t> last{acknowledged};
    std::atomic<int> unanswered{0};
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (uint32_t w = 0; w < 3; ++w) {
      threads.emplace_back([&, w] {
        for (uint32_t i = 0; !stop; ++i) {
          if (unanswered > 200) {  // they shall be many, and not without end
            std::this_thread::yield();
            continue;
          }
          const auto batch = std::make_shared<const std::vector<OwnedRating>>(
              RandomRatings(w * 100'000 + round * 1'000 + i, 5));
          RecordRequest request;
          for (const OwnedRating& rating : *batch) request.events.push_back(ToEvent(rating));
          ++unanswered;
          request.done = [&, batch](const RecordResult& result) {
            for (int64_t seen = last; result.status.ok() && seen < result.last_sequence &&
                                      !last.compare_exchange_weak(seen, result.last_sequence);) {
            }
            --unanswered;
          };
          engine->Record(std::move(request));
        }
      });
    }
    threads.emplace_back([&] {
      while (!stop) {
        const auto answer = engine->Recommend({.user_id = "u1", .max_items = 10});
        ASSERT_TRUE(answer.ok()) << answer.status();
      }
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + 3 * (round % 5)));
    stop = true;
    for (std::thread& thread : threads) thread.join();
    ASSERT_TRUE(engine->Close().ok());
    EXPECT_EQ(unanswered, 0);
    acknowledged = last;
    EXPECT_GE(engine->Info().sequence, acknowledged);
  }
  const auto verified = VerifyFolder(dir / "data");
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_GE(verified->events, acknowledged);
  EXPECT_GT(acknowledged, 0);
}

}  // namespace
}  // namespace factord
