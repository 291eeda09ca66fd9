#include "benchmarks/rating_stream.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "model/mix.h"

namespace factord {
namespace {

// Users and items are of so many kinds; half of what a user takes up is of his own.
constexpr uint32_t kKinds = 32;

double Uniform(uint64_t random) { return static_cast<double>(random >> 11) * 0x1p-53; }

// A number below n, the smaller the more often.
uint32_t LongTail(uint32_t n, double skew, uint64_t random) {
  const double place = std::pow(Uniform(random), skew) * static_cast<double>(n);
  return std::min(static_cast<uint32_t>(place), n - 1);
}

// Spreads what is frequent over all of [0, n).
uint32_t Scatter(uint32_t place, uint32_t n) {
  constexpr uint64_t kPrime = 2'147'483'647;  // larger than any n here, so it has no factor of n
  return static_cast<uint32_t>(place * kPrime % n);
}

// Of a user or an item, -1 to 1: about normal.
double Bias(uint64_t stream, uint32_t index) {
  const uint64_t random = Mix64(stream + index);
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<double>((random >> (16 * i)) & 0xffff) / 65535;
  return sum - 2;
}

}  // namespace

RatingShape MovieLens10M() {
  return {.users = 69'878,
          .items = 10'677,
          .ratings = 10'000'054,
          .user_skew = 1.54,
          .item_skew = 1.64};
}

RatingShape Netflix() {
  return {.users = 480'189,
          .items = 17'770,
          .ratings = 100'480'507,
          .user_skew = 1.6,
          .item_skew = 1.65};
}

RatingShape WebScale() {
  return {.users = 10'000'000,
          .items = 1'000'000,
          .ratings = 200'000'000,
          .user_skew = 1.4,
          .item_skew = 1.8};
}

RatingShape Scaled(RatingShape shape, uint32_t users, uint32_t items) {
  shape.ratings = static_cast<uint64_t>(static_cast<double>(shape.ratings) *
                                        static_cast<double>(users) / shape.users);
  shape.users = users;
  shape.items = items;
  return shape;
}

GeneratedRatings::GeneratedRatings(const RatingShape& shape, uint64_t seed)
    : shape_(shape), stream_(Mix64(Mix64(seed) ^ shape.users)) {}

GeneratedRating GeneratedRatings::Next() {
  const uint64_t draw = stream_ + 8 * next_++;
  GeneratedRating rating;
  rating.user = Scatter(LongTail(shape_.users, shape_.user_skew, Mix64(draw)), shape_.users);
  uint32_t place = LongTail(shape_.items, shape_.item_skew, Mix64(draw + 1));
  const uint32_t kind = rating.user % kKinds;
  const bool of_own_kind = Mix64(draw + 2) % 2 == 0 && shape_.items > kKinds;
  if (of_own_kind) {
    place = std::min(place / kKinds * kKinds + kind, shape_.items - 1);
  }
  rating.item = Scatter(place, shape_.items);
  const double noise = Bias(stream_ + 1, static_cast<uint32_t>(next_));
  const double value = 3.5 + 0.6 * Bias(stream_ + 2, rating.user) +
                       0.8 * Bias(stream_ + 3, rating.item) + (of_own_kind ? 0.3 : -0.3) + noise;
  rating.value = static_cast<float>(std::clamp(std::round(2 * value) / 2, 0.5, 5.0));
  return rating;
}

std::string UserId(uint32_t user) { return absl::StrFormat("u%08d", user); }
std::string ItemId(uint32_t item) { return absl::StrFormat("i%07d", item); }

}  // namespace factord
