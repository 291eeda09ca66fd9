#include "model/top_k.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "model/kernels.h"

namespace factord {
namespace {

// Items with random rows and ids whose order is not that of their indices.
class Items {
 public:
  Items(size_t rank, uint32_t rows, int levels, std::mt19937* random)
      : matrix_(rank), random_(random) {
    for (uint32_t i = 0; i < rows; ++i) {
      ids_.Add("item-" + std::to_string((i * 7919u) % 100'003u));
      FillRow(matrix_.Add().factors, levels);
    }
    matrix_.Publish(1);
  }

  // `levels` different values: with few of them, many scores are equal.
  void FillRow(float* row, int levels) {
    for (size_t k = 0; k < matrix_.rank(); ++k) {
      row[k] = static_cast<float>((*random_)() % levels) / static_cast<float>(levels);
    }
  }
  std::vector<float> User(int levels) {
    std::vector<float> user(matrix_.stride());
    FillRow(user.data(), levels);
    return user;
  }
  ItemView Pin() const { return matrix_.Pin(); }
  const IdMap& ids() const { return ids_; }

 private:
  ItemMatrix matrix_;
  IdMap ids_;
  std::mt19937* const random_;
};

std::vector<std::pair<std::string, float>> Named(const std::vector<ScoredIndex>& list,
                                                 const IdMap& ids) {
  std::vector<std::pair<std::string, float>> named;
  for (const ScoredIndex& s : list) named.emplace_back(std::string(ids.id(s.item)), s.score);
  return named;
}

TEST(TopKTest, EqualsTheReference) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const size_t rank = 1 + random() % 40;
    const uint32_t rows = random() % 200;
    const int levels = random() % 2 == 0 ? 2 : 1000;
    Items items(rank, rows, levels, &random);
    std::vector<uint32_t> excluded;
    const uint32_t share = random() % 4;  // none to three quarters
    for (uint32_t i = 0; i < rows; ++i) {
      if (random() % 4 < share) excluded.push_back(i);
    }
    const std::vector<float> user = items.User(levels);
    const ItemView view = items.Pin();
    for (const size_t k : {size_t{0}, size_t{1}, size_t{10}, size_t{rows}, size_t{rows + 5}}) {
      ASSERT_EQ(Named(TopK(view, items.ids(), user.data(), excluded, k, {}), items.ids()),
                Named(TopKReference(view, items.ids(), user.data(), excluded, k), items.ids()));
    }
  }
}

// Rows of every length and bias, over several pages and changed between publishes: most are passed
// over unscored, by each of the bounds in some case.
TEST(TopKTest, EqualsTheReferenceWhereMuchIsPassedOver) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const size_t rank = 1 + random() % 80;
    const uint32_t rows = 500 + random() % 3000;
    const float spread = std::ldexp(1.0f, static_cast<int>(random() % 20) - 15);  // of the lengths
    const float bias = random() % 2 == 0 ? 0 : std::ldexp(1.0f, static_cast<int>(random() % 8) - 4);
    ItemMatrix matrix(rank, /*has_ranking=*/true);
    IdMap ids;
    const auto set_bias = [&](uint32_t row) {
      *matrix.Mutable(row).ranking_bias = bias * static_cast<float>(random() % 100);
    };
    const auto fill = [&](uint32_t row) {
      const float length = std::exp(spread * normal(random));
      float* const ranking = matrix.MutableRanking(row);
      for (size_t k = 0; k < rank; ++k) ranking[k] = length * normal(random);
      set_bias(row);
    };
    for (uint32_t i = 0; i < rows; ++i) {
      ids.Add(absl::StrCat("item-", (i * 7919u) % 100'003u));
      matrix.Add();
      fill(i);
      if (random() % 100 == 0) matrix.Publish(1);
      if (random() % 3 == 0) fill(static_cast<uint32_t>(random() % matrix.size()));
      if (random() % 3 == 0) set_bias(static_cast<uint32_t>(random() % matrix.size()));
    }
    matrix.Publish(2);
    const ItemView view = matrix.Pin();
    std::vector<float> query(matrix.stride());
    for (size_t k = 0; k < rank; ++k) query[k] = normal(random);
    std::vector<uint32_t> excluded;
    for (uint32_t i = 0; i < rows; i += 1 + random() % 50) excluded.push_back(i);
    for (const size_t k : {size_t{1}, size_t{10}, size_t{300}}) {
      ASSERT_EQ(Named(TopK(view, ids, query.data(), excluded, k, {}), ids),
                Named(TopKReference(view, ids, query.data(), excluded, k), ids));
    }
  }
}

TEST(TopKTest, HugeAndTinyFactors) {
  for (const float size : {1e17f, 1e-10f, 1e-22f, 1e-38f, 0.0f}) {
    std::mt19937 random(1);
    ItemMatrix matrix(24);
    IdMap ids;
    for (uint32_t i = 0; i < 500; ++i) {
      ids.Add(absl::StrCat(i));
      float* const row = matrix.Add().factors;
      for (size_t k = 0; k < 24; ++k) row[k] = size * (1 + static_cast<float>(random() % 7) / 1000);
    }
    matrix.Publish(1);
    const ItemView view = matrix.Pin();
    for (const float query_size : {1e17f, 1.0f, 1e-20f, 0.0f}) {
      std::vector<float> query(matrix.stride());
      std::fill_n(query.begin(), 24, query_size);
      ASSERT_EQ(Named(TopK(view, ids, query.data(), {}, 10, {}), ids),
                Named(TopKReference(view, ids, query.data(), {}, 10), ids))
          << size << " " << query_size;
    }
  }
}

TEST(TopKTest, TheReferenceByHand) {
  ItemMatrix matrix(1);
  IdMap ids;
  const float scores[] = {3, 1, 2, 3};
  for (const char* id : {"d", "c", "b", "a"}) {
    matrix.Add().factors[0] = scores[ids.Add(id)];
  }
  matrix.Publish(1);
  std::vector<float> user(matrix.stride());
  user[0] = 2;
  using List = std::vector<std::pair<std::string, float>>;
  const ItemView view = matrix.Pin();
  for (const auto& top :
       {TopKReference(view, ids, user.data(), {}, 3), TopK(view, ids, user.data(), {}, 3, {})}) {
    EXPECT_EQ(Named(top, ids), (List{{"a", 6}, {"d", 6}, {"b", 4}}));
  }
  const std::vector<uint32_t> excluded = {0, 2};
  for (const auto& top : {TopKReference(view, ids, user.data(), excluded, 9),
                          TopK(view, ids, user.data(), excluded, 9, {})}) {
    EXPECT_EQ(Named(top, ids), (List{{"a", 6}, {"c", 2}}));
  }
}

TEST(TopKTest, TiesGoByIdWhateverTheOrderOfTheRows) {
  std::mt19937 random(1);
  Items items(4, 1000, 1, &random);  // one level: all factors and scores are 0
  const std::vector<ScoredIndex> top =
      TopK(items.Pin(), items.ids(), items.User(1).data(), {}, 50, {});
  ASSERT_EQ(top.size(), 50u);
  std::vector<std::string> all;
  for (uint32_t i = 0; i < 1000; ++i) all.push_back(std::string(items.ids().id(i)));
  std::sort(all.begin(), all.end());
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(items.ids().id(top[i].item), all[i]);
}

TEST(TopKTest, AllExcluded) {
  std::mt19937 random(1);
  Items items(4, 100, 10, &random);
  std::vector<uint32_t> all(100);
  for (uint32_t i = 0; i < 100; ++i) all[i] = i;
  EXPECT_TRUE(TopK(items.Pin(), items.ids(), items.User(10).data(), all, 10, {}).empty());
}

TEST(TopKTest, StopsWhenToldTo) {
  std::mt19937 random(1);
  Items items(4, 50'000, 10, &random);
  const std::vector<float> user = items.User(10);
  int asked = 0;
  const auto never = [&asked] { return ++asked < 1; };
  EXPECT_TRUE(TopK(items.Pin(), items.ids(), user.data(), {}, 10, never).empty());
  EXPECT_EQ(asked, 1);
  asked = 0;
  const auto twice = [&asked] { return ++asked < 3; };
  const std::vector<ScoredIndex> some = TopK(items.Pin(), items.ids(), user.data(), {}, 10, twice);
  EXPECT_EQ(some.size(), 10u);
  EXPECT_EQ(asked, 3);
}

TEST(TopKTest, ScoresAreTheKernelsDot) {
  std::mt19937 random(2);
  Items items(33, 100, 1000, &random);
  const std::vector<float> user = items.User(1000);
  const ItemView view = items.Pin();
  for (const ScoredIndex& s : TopK(view, items.ids(), user.data(), {}, 100, {})) {
    EXPECT_EQ(s.score, ActiveKernels().dot(view.factors(s.item), user.data(), view.stride()));
  }
}

}  // namespace
}  // namespace factord
