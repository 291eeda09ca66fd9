// Generated streams of ratings, in the shapes of known sets: long tails of users and items, tastes,
// and values that follow from them. What is measured with them says how fast something is, never
// how accurate.
//
//   GeneratedRatings ratings(MovieLens10M(), /*seed=*/1);
//   GeneratedRating rating = ratings.Next();
//
// The same seed gives the same stream, wherever the C library's pow() gives the same.
#pragma once

#include <cstdint>
#include <string>

namespace factord {

struct RatingShape {
  uint32_t users = 0;
  uint32_t items = 0;
  uint64_t ratings = 0;
  // 1: all alike. The most active user has about users^(1 - 1/skew) times the mean.
  double user_skew = 1.5;
  double item_skew = 1.6;
};

// 69,878 users, 10,677 items, 10,000,054 ratings.
RatingShape MovieLens10M();
// 480,189 users, 17,770 items, 100,480,507 ratings.
RatingShape Netflix();
// 10 million users, 1 million items, 200 million ratings.
RatingShape WebScale();
// With as many users and items, and ratings in proportion to the users.
RatingShape Scaled(RatingShape shape, uint32_t users, uint32_t items);

struct GeneratedRating {
  uint32_t user;
  uint32_t item;
  float value;  // 0.5 to 5, by halves
};

// Thread-compatible.
class GeneratedRatings {
 public:
  GeneratedRatings(const RatingShape& shape, uint64_t seed);
  GeneratedRating Next();

 private:
  const RatingShape shape_;
  const uint64_t stream_;
  uint64_t next_ = 0;
};

// "u12345678", "i1234567": as long as the ids of a shop.
std::string UserId(uint32_t user);
std::string ItemId(uint32_t item);

}  // namespace factord
