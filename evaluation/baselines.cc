#include "evaluation/baselines.h"

#include <algorithm>
#include <cmath>

#include "evaluation/training_counts.h"

namespace factord {
namespace {

class Popularity final : public Method {
 public:
  explicit Popularity(const DataSet* set) : counts_(set->users.size(), set->items.size()) {}

  absl::Status Pass(absl::Span<const Interaction> train) override {
    if (events_ > 0) return absl::OkStatus();
    for (const Interaction& event : train) {
      counts_.Add(event);
      sum_ += static_cast<double>(event.rating);
      ++events_;
    }
    return absl::OkStatus();
  }
  double Predict(uint32_t, uint32_t) const override {
    return sum_ / std::max(1.0, static_cast<double>(events_));
  }
  std::vector<uint32_t> Recommend(uint32_t user, size_t k) const override {
    return counts_.Best(
        user, k, [this](uint32_t item) { return static_cast<double>(counts_.ratings(item)); });
  }

 private:
  TrainingCounts counts_;
  double sum_ = 0;
  int64_t events_ = 0;
};

class Biases final : public Method {
 public:
  Biases(float min_rating, float max_rating, const DataSet* set)
      : min_(static_cast<double>(min_rating)),
        max_(static_cast<double>(max_rating)),
        counts_(set->users.size(), set->items.size()),
        users_(set->users.size()),
        items_(set->items.size()) {}

  absl::Status Pass(absl::Span<const Interaction> train) override {
    const double unit = (max_ - min_) / 4;  // what the constants below were made for
    for (size_t i = 0; i < train.size(); ++i) {
      const Interaction& event = train[i];
      const auto rating = static_cast<double>(event.rating);
      if (is_first_) {
        const double predicted = Predict(event.user, event.item);
        prequential_.Add(rating, predicted);
        if (i >= train.size() / 2) second_half_.Add(rating, predicted);
        counts_.Add(event);
      }
      Bias& user = users_[event.user];
      Bias& item = items_[event.item];
      const double error = (rating - Mean() - user.value - item.value) / unit;
      const double total = user.variance + item.variance + 0.8 * std::max(1.0, std::abs(error));
      user.value += unit * error * user.variance / total;
      item.value += unit * error * item.variance / total;
      user.variance = std::max(0.02, user.variance - user.variance * user.variance / total);
      item.variance -= item.variance * item.variance / total;
      sum_ += rating;
      ++events_;
    }
    is_first_ = false;
    return absl::OkStatus();
  }
  double Predict(uint32_t user, uint32_t item) const override {
    return std::clamp(Mean() + users_[user].value + items_[item].value, min_, max_);
  }
  std::vector<uint32_t> Recommend(uint32_t user, size_t k) const override {
    return counts_.Best(user, k, [this](uint32_t item) { return items_[item].value; });
  }
  const RatingErrors* prequential() const override { return &prequential_; }
  const RatingErrors* prequential_second_half() const override { return &second_half_; }

 private:
  struct Bias {
    double value = 0;
    double variance = 0.4;
  };
  double Mean() const { return events_ > 0 ? sum_ / events_ : (min_ + max_) / 2; }

  const double min_, max_;
  TrainingCounts counts_;
  std::vector<Bias> users_, items_;
  double sum_ = 0, events_ = 0;
  bool is_first_ = true;
  RatingErrors prequential_, second_half_;
};

}  // namespace

std::unique_ptr<Method> MakeBiases(float min_rating, float max_rating, const DataSet* set) {
  return std::make_unique<Biases>(min_rating, max_rating, set);
}

std::unique_ptr<Method> MakePopularity(const DataSet* set) {
  return std::make_unique<Popularity>(set);
}

}  // namespace factord
