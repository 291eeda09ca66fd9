#include "model/config.h"

#include <cmath>
#include <functional>
#include <limits>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(ConfigTest, DefaultIsValid) { EXPECT_TRUE(ModelConfig().Validate().ok()); }

struct BadField {
  const char* name;
  std::function<void(ModelConfig*)> spoil;
};

std::vector<BadField> BadFields() {
  return {
      {"rank", [](ModelConfig* c) { c->rank = 0; }},
      {"rank", [](ModelConfig* c) { c->rank = 1025; }},
      {"min_rating", [](ModelConfig* c) { c->min_rating = -1; }},
      {"min_rating", [](ModelConfig* c) { c->min_rating = kNan; }},
      {"max_rating", [](ModelConfig* c) { c->max_rating = 0; }},
      {"max_rating", [](ModelConfig* c) { c->max_rating = kInfinity; }},
      {"max_rating", [](ModelConfig* c) { c->max_rating = kNan; }},
      {"variant", [](ModelConfig* c) { c->variant = static_cast<Variant>(7); }},
      {"solver", [](ModelConfig* c) { c->solver = static_cast<Solver>(0); }},
      {"aggressiveness", [](ModelConfig* c) { c->aggressiveness = 0; }},
      {"aggressiveness", [](ModelConfig* c) { c->aggressiveness = kInfinity; }},
      {"aggressiveness", [](ModelConfig* c) { c->aggressiveness = kNan; }},
      {"epsilon", [](ModelConfig* c) { c->epsilon = -0.1f; }},
      {"epsilon", [](ModelConfig* c) { c->epsilon = kInfinity; }},
      {"bisection_tolerance", [](ModelConfig* c) { c->bisection_tolerance = 0; }},
      {"bisection_tolerance", [](ModelConfig* c) { c->bisection_tolerance = 1; }},
      {"bisection_tolerance", [](ModelConfig* c) { c->bisection_tolerance = kNan; }},
      {"offset", [](ModelConfig* c) { c->offset = 0; }},
      {"attraction", [](ModelConfig* c) { c->attraction = 1.5f; }},
      {"replay", [](ModelConfig* c) { c->replay = -1; }},
      {"replay", [](ModelConfig* c) { c->replay = 17; }},
      {"event_types", [](ModelConfig* c) { c->event_types.resize(33, {.name = "a"}); }},
      {"event_types ''", [](ModelConfig* c) { c->event_types = {{.name = ""}}; }},
      {"event_types 'Click'", [](ModelConfig* c) { c->event_types = {{.name = "Click"}}; }},
      {"event_types '1st'", [](ModelConfig* c) { c->event_types = {{.name = "1st"}}; }},
      {"event_types 'a'",
       [](ModelConfig* c) {
         c->event_types = {{.name = "a"}, {.name = "a"}};
       }},
      {"event_types 'a'", [](ModelConfig* c) { c->event_types = {{.name = "a", .value = 0}}; }},
      {"event_types 'a'", [](ModelConfig* c) { c->event_types = {{.name = "a", .value = 11}}; }},
      {"event_types 'a'", [](ModelConfig* c) { c->event_types = {{.name = "a", .weight = kNan}}; }},
      {"initial_rating", [](ModelConfig* c) { c->initial_rating = 0; }},
      {"initial_rating", [](ModelConfig* c) { c->initial_rating = 5.5f; }},
      {"initial_rating", [](ModelConfig* c) { c->initial_rating = kNan; }},
      {"dedupe_window", [](ModelConfig* c) { c->dedupe_window = 0; }},
      {"dedupe_window", [](ModelConfig* c) { c->dedupe_window = 100'000'001; }},
      {"update_version", [](ModelConfig* c) { c->update_version = 0; }},
      {"update_version", [](ModelConfig* c) { c->update_version = kUpdateVersion + 1; }},
  };
}

TEST(ConfigTest, EachBadFieldIsNamed) {
  for (const BadField& bad : BadFields()) {
    ModelConfig config;
    bad.spoil(&config);
    const absl::Status status = config.Validate();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(bad.name, " must")));
  }
}

TEST(ConfigTest, PureUpdatesHaveNoReplayAndNoEventTypes) {
  ModelConfig config;
  config.variant = Variant::kPaI;
  EXPECT_TRUE(config.Validate().ok());
  config.event_types = {{.name = "click"}};
  EXPECT_THAT(std::string(config.Validate().message()), HasSubstr("need variant adaptive"));
  config.event_types.clear();
  config.replay = 1;
  EXPECT_THAT(std::string(config.Validate().message()), HasSubstr("need variant adaptive"));
}

TEST(ConfigTest, EventTypesAreReadAndWritten) {
  const absl::StatusOr<std::vector<EventType>> types =
      EventTypesFromText("view:0.5:0.25,click,purchase:2");
  ASSERT_TRUE(types.ok());
  const std::vector<EventType> expected = {
      {"view", 0.5f, 0.25f}, {"click", 1, 1}, {"purchase", 2, 1}};
  EXPECT_EQ(*types, expected);
  EXPECT_EQ(EventTypesText(*types), "view:0.5:0.25,click:1:1,purchase:2:1");
  EXPECT_TRUE(EventTypesFromText("")->empty());
  for (const char* bad : {"click:", "click:x", "click:1:", "click:1:1:1"}) {
    EXPECT_THAT(std::string(EventTypesFromText(bad).status().message()),
                HasSubstr(absl::StrCat("'", bad, "' is not name")))
        << bad;
  }
}

TEST(ConfigTest, AllBadFieldsAreNamedAtOnce) {
  ModelConfig config;
  config.rank = 0;
  config.epsilon = -1;
  config.dedupe_window = 0;
  const std::string message(config.Validate().message());
  EXPECT_THAT(message, HasSubstr("rank must"));
  EXPECT_THAT(message, HasSubstr("epsilon must"));
  EXPECT_THAT(message, HasSubstr("dedupe_window must"));
  EXPECT_THAT(message, Not(HasSubstr("aggressiveness")));
}

// Every field differs from its default, and no float has a short decimal form.
ModelConfig Unusual() {
  ModelConfig config;
  config.rank = 1024;
  config.seed = std::numeric_limits<int64_t>::min();
  config.min_rating = 0.1f;
  config.max_rating = 1.0f / 3 * 10;
  config.variant = Variant::kPaII;
  config.solver = Solver::kBisection;
  config.aggressiveness = std::nextafter(0.02f, 1.0f);
  config.epsilon = std::numeric_limits<float>::denorm_min();
  config.bisection_tolerance = 1e-7f / 3;
  config.initial_rating = 2.0f / 3;
  config.dedupe_window = 99'999'999;
  return config;
}

TEST(ConfigTest, FieldsRoundTripBitForBit) {
  ModelConfig adaptive;
  adaptive.offset = 1.0f / 3;
  adaptive.attraction = 0.1f / 3;
  adaptive.replay = 3;
  adaptive.event_types = {{"view", 1.0f / 3, 0.1f / 3}, {"click"}};
  for (const ModelConfig& config : {ModelConfig(), Unusual(), adaptive}) {
    const absl::StatusOr<ModelConfig> back = FromFields(ToFields(config));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, config);
  }
  EXPECT_FALSE(Unusual() == ModelConfig());
}

TEST(ConfigTest, FromFieldsNamesWhatIsWrong) {
  std::map<std::string, std::string> fields = ToFields(ModelConfig());
  fields.erase("rank");
  fields["epsilon"] = "0.1x";
  fields["solver"] = "guess";
  fields["colour"] = "red";
  const absl::Status status = FromFields(fields).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("missing field rank"));
  EXPECT_THAT(message, HasSubstr("malformed field epsilon: '0.1x'"));
  EXPECT_THAT(message, HasSubstr("malformed field solver: 'guess'"));
  EXPECT_THAT(message, HasSubstr("unknown field colour"));
}

TEST(ConfigTest, FromFieldsChecksTheRules) {
  std::map<std::string, std::string> fields = ToFields(ModelConfig());
  fields["aggressiveness"] = "-1";
  EXPECT_THAT(std::string(FromFields(fields).status().message()), HasSubstr("aggressiveness must"));
}

TEST(ConfigTest, AFolderKeepsItsUpdateVersion) {
  std::map<std::string, std::string> fields = ToFields(ModelConfig());
  fields["update_version"] = "1";
  const absl::StatusOr<ModelConfig> config = FromFields(fields);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->update_version, 1);
  EXPECT_EQ(ToFields(*config), fields);
}

TEST(ConfigTest, AnotherUpdateVersionIsAPreconditionWhateverElseIsThere) {
  for (const int32_t version : {-1, 0, kUpdateVersion + 1}) {
    std::map<std::string, std::string> fields = ToFields(ModelConfig());
    fields["update_version"] = absl::StrCat(version);
    fields["temperature"] = "1";
    EXPECT_EQ(FromFields(fields).status().code(), absl::StatusCode::kFailedPrecondition) << version;
  }
}

TEST(ConfigTest, NamesOfTheChoices) {
  for (const char* name : {"pa", "pa-1", "pa-2"}) {
    const absl::StatusOr<Variant> variant = VariantFromName(name);
    ASSERT_TRUE(variant.ok()) << name;
    EXPECT_EQ(VariantName(*variant), name);
  }
  for (const char* name : {"exact", "bisection", "approximate"}) {
    const absl::StatusOr<Solver> solver = SolverFromName(name);
    ASSERT_TRUE(solver.ok()) << name;
    EXPECT_EQ(SolverName(*solver), name);
  }
  EXPECT_EQ(VariantFromName("PA").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SolverFromName("").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace factord
