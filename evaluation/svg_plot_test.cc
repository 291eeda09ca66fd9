#include "evaluation/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What is wrong with an XML document without comments and declarations; empty: nothing.
std::string XmlProblem(const std::string& xml) {
  std::vector<std::string> open;
  size_t roots = 0;
  for (size_t i = 0; i < xml.size();) {
    if (xml[i] == '&') {
      bool known = false;
      for (const char* entity : {"&amp;", "&lt;", "&gt;", "&quot;"}) {
        known = known || xml.compare(i, std::string(entity).size(), entity) == 0;
      }
      if (!known) return absl::StrCat("a bare & at ", i);
    }
    if (xml[i] == '>') return absl::StrCat("a bare > at ", i);
    if (xml[i] != '<') {
      if (open.empty() && xml[i] != '\n') return absl::StrCat("text outside the root at ", i);
      ++i;
      continue;
    }
    const size_t end = xml.find('>', i);
    if (end == std::string::npos) return "a tag without end";
    const std::string tag = xml.substr(i + 1, end - i - 1);
    i = end + 1;
    if (tag.find('<') != std::string::npos) return "< within " + tag;
    const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
    if (tag[0] == '/') {
      if (open.empty() || "/" + open.back() != tag) return "closes what is not open: " + tag;
      open.pop_back();
      continue;
    }
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0) return "odd quotes in " + tag;
    if (open.empty()) ++roots;
    if (tag.back() != '/') open.push_back(name);
  }
  if (!open.empty()) return "not closed: " + open.back();
  return roots == 1 ? "" : absl::StrCat(roots, " roots");
}

size_t Count(const std::string& text, const std::string& part) {
  return std::vector<std::string>(absl::StrSplit(text, part)).size() - 1;
}

TEST(XmlProblemTest, SeesWhatIsWrong) {
  EXPECT_EQ(XmlProblem("<a b=\"c\"><d/>&lt;</a>\n"), "");
  for (const char* bad : {"", "<a>", "<a></b>", "<a>&</a>", "<a b=\"></a>", "<a/><b/>", "x<a/>",
                          "<a><b</a>", "<a>></a>"}) {
    EXPECT_NE(XmlProblem(bad), "") << bad;
  }
}

TEST(ToSvgTest, DrawsEachLineWithItsPointsAndItsName) {
  Plot plot = {.title = "Errors", .x_label = "seconds", .y_label = "error%"};
  plot.lines = {{"one", {{1, 10}, {2, 20}, {3, 15}}}, {"two", {{1, 12}}}};
  const std::string svg = ToSvg(plot);
  EXPECT_EQ(XmlProblem(svg), "");
  EXPECT_EQ(Count(svg, "<polyline "), 2u);
  EXPECT_EQ(Count(svg, "<circle "), 4u);
  for (const char* text : {">Errors<", ">seconds<", ">error%<", ">one<", ">two<"}) {
    EXPECT_THAT(svg, HasSubstr(text));
  }
  // Corners: small x left, large y on top.
  EXPECT_THAT(svg, HasSubstr("points=\"70.0,350.0 270.0,40.0 470.0,195.0\""));
  EXPECT_EQ(ToSvg(plot), svg);
}

TEST(ToSvgTest, EscapesNames) {
  Plot plot = {.title = "a < b & c > d", .x_label = "<x>", .y_label = "&"};
  plot.lines = {{"</svg>", {{1, 1}, {2, 2}}}};
  const std::string svg = ToSvg(plot);
  EXPECT_EQ(XmlProblem(svg), "");
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c &gt; d"));
  EXPECT_EQ(Count(svg, "</svg>"), 1u);
}

TEST(ToSvgTest, LeavesOutPointsThatAreNotFinite) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double nan = std::nan("");
  Plot plot = {.title = "t", .x_label = "x", .y_label = "y"};
  plot.lines = {{"l", {{nan, 1}, {1, nan}, {1, 1}, {kInfinity, 1}, {2, -kInfinity}, {2, 2}}}};
  const std::string svg = ToSvg(plot);
  EXPECT_EQ(XmlProblem(svg), "");
  EXPECT_EQ(Count(svg, "<circle "), 2u);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(ToSvgTest, ALogarithmicAxisHasNoPlaceForZero) {
  Plot plot = {.title = "t", .x_label = "x", .y_label = "y", .log_x = true};
  plot.lines = {{"l", {{0, 1}, {-1, 1}, {0.01, 1}, {100, 2}}}};
  const std::string svg = ToSvg(plot);
  EXPECT_EQ(Count(svg, "<circle "), 2u);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  for (const char* tick : {">0.01<", ">0.1<", ">1<", ">10<", ">100<"}) {
    EXPECT_THAT(svg, HasSubstr(tick));
  }
}

TEST(ToSvgTest, NothingToDrawIsAFrame) {
  for (const bool log_x : {false, true}) {
    Plot plot = {.title = "t", .x_label = "x", .y_label = "y", .log_x = log_x};
    EXPECT_EQ(XmlProblem(ToSvg(plot)), "");
    plot.lines = {{"empty", {}}, {"one point", {{3, 4}}}};
    const std::string svg = ToSvg(plot);
    EXPECT_EQ(XmlProblem(svg), "");
    EXPECT_EQ(Count(svg, "<circle "), 1u);
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
  }
}

// A plot of a converged method never ended: the step between ticks was lost in the rounding.
TEST(ToSvgTest, ValuesThatHardlyDifferHaveFewTicks) {
  for (const double y : {17.5, -17.5, 1e12, 1e-12}) {
    Plot plot = {.title = "t", .x_label = "x", .y_label = "y", .log_x = true};
    plot.lines = {{"l", {{1, y}, {2, std::nextafter(y, 1e300)}}}};
    const std::string svg = ToSvg(plot);
    EXPECT_EQ(XmlProblem(svg), "");
    EXPECT_LT(svg.size(), 10'000u) << y;
  }
  Plot plot = {.title = "t", .x_label = "x", .y_label = "y"};
  plot.lines = {{"l", {{1e-12, 1e-12}, {3e-12, 5e-12}}}};
  EXPECT_LT(ToSvg(plot).size(), 10'000u);
}

}  // namespace
}  // namespace factord
