#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace factord {
namespace {

using ::testing::IsSupersetOf;

// Runs rows; what each measurement is called.
std::set<std::string> Measure(const std::string& rows) {
  std::FILE* const output =
      popen((std::string(FACTORD_BENCH_BINARY) + " --smoke " + rows).c_str(), "r");
  std::string text;
  std::array<char, 4096> buffer;
  size_t size = 0;
  while ((size = std::fread(buffer.data(), 1, buffer.size(), output)) > 0) {
    text.append(buffer.data(), size);
  }
  EXPECT_EQ(pclose(output), 0) << text;
  std::set<std::string> names;
  for (size_t start = 0, end; (end = text.find('\n', start)) != std::string::npos;
       start = end + 1) {
    const auto measurement = nlohmann::json::parse(text.substr(start, end - start));
    EXPECT_GT(measurement.at("value").get<double>(), 0) << measurement;
    if (!measurement.at("reference").is_null()) {
      EXPECT_GT(measurement.at("reference_value").get<double>(), 0) << measurement;
    }
    names.insert(measurement.at("name").get<std::string>());
  }
  return names;
}

TEST(Smoke, Stream) { EXPECT_THAT(Measure("stream"), IsSupersetOf({"stream", "stream-p99"})); }

TEST(Smoke, Unary) {
  EXPECT_THAT(Measure("unary"), IsSupersetOf({"unary", "unary-p99", "unary/open-half-p99"}));
}

TEST(Smoke, Recommend) {
  EXPECT_THAT(Measure("recommend"), IsSupersetOf({"recommend", "recommend/one-p99"}));
}

TEST(Smoke, Restart) {
  EXPECT_THAT(Measure("restart"), IsSupersetOf({"restart", "restart/replay"}));
}

TEST(Smoke, Memory) { EXPECT_THAT(Measure("memory"), IsSupersetOf({"memory"})); }

TEST(Smoke, Growth) {
  EXPECT_THAT(Measure("growth"),
              IsSupersetOf({"growth/apply-users-100000", "growth/topk-items-10000"}));
}

TEST(Smoke, Mixed) {
  EXPECT_THAT(Measure("mixed"),
              IsSupersetOf({"mixed/beside-writes-p99", "mixed/beside-snapshots-p99",
                            "mixed/writes-beside-snapshots"}));
}

TEST(Smoke, Overload) {
  EXPECT_THAT(Measure("overload"),
              IsSupersetOf({"overload-p99", "overload/after-p99", "overload-batch-p99"}));
}

}  // namespace
}  // namespace factord
