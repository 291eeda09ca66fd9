// A rating set in memory, and the ways to divide it into what is learned and what is predicted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace factord {

struct Interaction {
  uint32_t user = 0;  // index in Names
  uint32_t item = 0;
  float rating = 0;
  int64_t time_micros = 0;  // 0: none
};

// The ids of one side, numbered in order of appearance. Thread-compatible.
class Names {
 public:
  uint32_t Add(absl::string_view name);
  const std::string& operator[](uint32_t index) const { return names_[index]; }
  uint32_t size() const { return static_cast<uint32_t>(names_.size()); }

 private:
  std::vector<std::string> names_;
  absl::flat_hash_map<std::string, uint32_t> index_of_;
};

struct DataSet {
  Names users;
  Names items;
};

// Reads a file in any format that ratings/rating_reader.h knows, in its order, adding its ids to
// *set. INVALID_ARGUMENT with file, line and reason for a malformed line.
absl::StatusOr<std::vector<Interaction>> ReadInteractions(const std::string& path, DataSet* set);

// Oldest first; those of equal time keep their order.
std::vector<Interaction> SortedByTime(std::vector<Interaction> events);
// In an order that the seed says.
std::vector<Interaction> Shuffled(std::vector<Interaction> events, uint64_t seed);

struct Split {
  std::vector<Interaction> train;
  std::vector<Interaction> test;
};

// A share of each user's events, to the nearest number, drawn by the seed; the rest in random
// order.
Split SplitAtRandom(const std::vector<Interaction>& events, double test_share, uint64_t seed);
// The last share of all events; both parts in their order.
Split SplitAtEnd(const std::vector<Interaction>& events, double test_share);
// The newest share of all events; both parts in order of time.
Split SplitByTime(const std::vector<Interaction>& events, double test_share);
// The last event in time of each user who has two or more; the rest in order of time.
Split SplitLastOut(const std::vector<Interaction>& events);

}  // namespace factord
