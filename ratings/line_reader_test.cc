#include "ratings/line_reader.h"

#include <cstdlib>

#include "base/temp_folder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// All lines; "<too long>" stands for a line that was refused.
std::vector<std::string> AllLines(LineReader* reader) {
  std::vector<std::string> lines;
  while (true) {
    auto line = reader->Next();
    if (absl::IsOutOfRange(line.status())) return lines;
    if (absl::IsResourceExhausted(line.status())) {
      lines.push_back("<too long>");
      continue;
    }
    EXPECT_TRUE(line.ok()) << line.status();
    if (!line.ok()) return lines;
    lines.emplace_back(*line);
  }
}

std::vector<std::string> AllLines(absl::string_view text, size_t chunk = 1 << 16) {
  return AllLines(LineReader::FromText(text, "text", chunk).get());
}

TEST(LineReaderTest, ReadsLinesWithAndWithoutAFinalEnd) {
  EXPECT_THAT(AllLines("a\nb\n"), ElementsAre("a", "b"));
  EXPECT_THAT(AllLines("a\nb"), ElementsAre("a", "b"));
  EXPECT_THAT(AllLines("\n\na"), ElementsAre("", "", "a"));
  EXPECT_THAT(AllLines(""), IsEmpty());
}

TEST(LineReaderTest, TakesOffCarriageReturns) {
  EXPECT_THAT(AllLines("a\r\nb\r\n\r\nc\r"), ElementsAre("a", "b", "", "c"));
  EXPECT_THAT(AllLines("a\rb\n"), ElementsAre("a\rb"));
}

TEST(LineReaderTest, SkipsAByteOrderMarkAtTheStartOnly) {
  EXPECT_THAT(AllLines("\xEF\xBB\xBFuser\n\xEF\xBB\xBFitem\n"),
              ElementsAre("user", "\xEF\xBB\xBFitem"));
}

TEST(LineReaderTest, GivesTheSameLinesHoweverTheSourceCutsThem) {
  std::string text;
  std::vector<std::string> expected;
  for (int i = 0; i < 500; ++i) {
    expected.push_back(std::string(i % 97, 'x') + std::to_string(i));
    text += expected.back() + (i % 3 == 0 ? "\r\n" : "\n");
  }
  for (const size_t chunk : {1, 2, 7, 64, 4096}) {
    EXPECT_EQ(AllLines(text, chunk), expected) << "chunk " << chunk;
  }
}

TEST(LineReaderTest, RefusesALineThatIsTooLongAndGoesOnBehindIt) {
  const std::string longest(LineReader::kMaxLineBytes, 'y');
  const std::string huge(10 * LineReader::kMaxLineBytes, 'z');
  const std::string text = "a\n" + longest + "\n" + longest + "y\n" + huge + "\nb\n" + huge;
  for (const size_t chunk : {size_t{1000}, size_t{1} << 20}) {
    auto reader = LineReader::FromText(text, "text", chunk);
    EXPECT_THAT(AllLines(reader.get()),
                ElementsAre("a", longest, "<too long>", "<too long>", "b", "<too long>"));
    EXPECT_EQ(reader->line_number(), 6);
    EXPECT_EQ(reader->bytes_read(), static_cast<int64_t>(text.size()));
  }
}

TEST(LineReaderTest, CountsLinesAndBytes) {
  auto reader = LineReader::FromText("ab\r\n\ncd", "text");
  ASSERT_TRUE(reader->Next().ok());
  EXPECT_EQ(reader->line_number(), 1);
  EXPECT_EQ(reader->bytes_read(), 4);
  ASSERT_TRUE(reader->Next().ok());
  EXPECT_EQ(reader->line_number(), 2);
  ASSERT_TRUE(reader->Next().ok());
  EXPECT_EQ(reader->line_number(), 3);
  EXPECT_EQ(reader->bytes_read(), 7);
  // The end is final and is no line.
  EXPECT_TRUE(absl::IsOutOfRange(reader->Next().status()));
  EXPECT_TRUE(absl::IsOutOfRange(reader->Next().status()));
  EXPECT_EQ(reader->line_number(), 3);
}

TEST(LineReaderTest, PassesAFailureOfTheSourceOn) {
  int calls = 0;
  LineReader reader(
      [&](char* data, size_t) -> absl::StatusOr<size_t> {
        if (++calls > 1) return absl::DataLossError("bad sector");
        data[0] = 'a';
        data[1] = '\n';
        return 2;
      },
      "source");
  EXPECT_EQ(*reader.Next(), "a");
  EXPECT_TRUE(absl::IsDataLoss(reader.Next().status()));
}

TEST(LineReaderTest, OpensAFile) {
  const TempFolder folder;
  const std::string path = folder.Write("lines.txt", "one\ntwo\n");
  auto reader = LineReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->name(), path);
  EXPECT_THAT(AllLines(reader->get()), ElementsAre("one", "two"));
}

TEST(LineReaderTest, SaysWhyAFileCannotBeOpened) {
  auto missing = LineReader::Open("/nonexistent/ratings.csv");
  EXPECT_TRUE(absl::IsNotFound(missing.status())) << missing.status();
  EXPECT_THAT(std::string(missing.status().message()),
              testing::HasSubstr("/nonexistent/ratings.csv"));
  EXPECT_TRUE(absl::IsFailedPrecondition(LineReader::Open(testing::TempDir()).status()));
}

}  // namespace
}  // namespace factord
