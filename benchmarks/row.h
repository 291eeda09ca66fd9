// A row of tools/bench.sh: something measured beside what it is held against, in the same run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace factord {

struct Measurement {
  std::string name;  // of the row; "growth/users-1m" of one of several
  double value = 0;
  std::string unit;       // "events/s", "ns"
  std::string reference;  // what it is held against: "echo"; empty: nothing
  double reference_value = 0;
  // For value / reference_value: at least, or at most. Unset: there is none.
  std::optional<double> at_least = std::nullopt;
  std::optional<double> at_most = std::nullopt;
};

struct BenchOptions {
  // A run of a few seconds that shows that everything works; its figures say nothing.
  bool smoke = false;
  uint64_t seed = 1;
  // For data folders; emptied by whoever uses it.
  std::string scratch_dir;
};

// Adds what it measures. Runs alone: nothing else is measured meanwhile.
using BenchRow = absl::Status (*)(const BenchOptions& options, std::vector<Measurement>* results);

struct NamedRow {
  absl::string_view name;
  absl::string_view what;  // a line for --help
  BenchRow run;
};

// Each in a file of its own name.
absl::Status BenchKernel(const BenchOptions& options, std::vector<Measurement>* results);
absl::Status BenchIngest(const BenchOptions& options, std::vector<Measurement>* results);
absl::Status BenchStream(const BenchOptions& options, std::vector<Measurement>* results);
absl::Status BenchUnary(const BenchOptions& options, std::vector<Measurement>* results);
absl::Status BenchRecommend(const BenchOptions& options, std::vector<Measurement>* results);
absl::Status BenchOverload(const BenchOptions& options, std::vector<Measurement>* results);
absl::Status BenchMixed(const BenchOptions& options, std::vector<Measurement>* results);
absl::Status BenchTopK(const BenchOptions& options, std::vector<Measurement>* results);
absl::Status BenchTopKUniform(const BenchOptions& options, std::vector<Measurement>* results);
absl::Status BenchRestart(const BenchOptions& options, std::vector<Measurement>* results);
absl::Status BenchMemory(const BenchOptions& options, std::vector<Measurement>* results);
absl::Status BenchGrowth(const BenchOptions& options, std::vector<Measurement>* results);

// In the order in which they run.
const std::vector<NamedRow>& AllRows();

}  // namespace factord
