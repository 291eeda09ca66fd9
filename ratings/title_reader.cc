#include "ratings/title_reader.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/utf8.h"
#include "ratings/text.h"

namespace factord {
namespace {

// The genre columns of u.item, as u.genre lists them.
constexpr absl::string_view kItemGenres[] = {
    "unknown",     "Action", "Adventure", "Animation", "Children's", "Comedy",  "Crime",
    "Documentary", "Drama",  "Fantasy",   "Film-Noir", "Horror",     "Musical", "Mystery",
    "Romance",     "Sci-Fi", "Thriller",  "War",       "Western"};
constexpr size_t kItemGenresColumn = 5;

absl::string_view DetectSeparator(absl::string_view first_line) {
  if (absl::StrContains(first_line, "::")) return "::";
  // Genres are joined by bars in a CSV file too, but behind its commas.
  const size_t bar = first_line.find('|');
  const size_t comma = first_line.find(',');
  return bar < comma ? "|" : ",";
}

bool IsNoGenre(absl::string_view genre) { return genre.empty() || genre == "(no genres listed)"; }

class TitleParser {
 public:
  explicit TitleParser(absl::string_view first_line)
      : separator_(DetectSeparator(first_line)), splitter_(separator_) {}

  // True if `line` is a header; then it has settled the columns.
  bool ParseHeader(absl::string_view line) {
    auto fields = splitter_.Split(line);
    if (!fields.ok()) return false;
    int id = -1, title = -1, genres = -1;
    for (size_t i = 0; i < (*fields)->size(); ++i) {
      const std::string name = absl::AsciiStrToLower((**fields)[i]);
      if (absl::EndsWith(name, "id") && id < 0) id = static_cast<int>(i);
      if (name == "title" || name == "name") title = static_cast<int>(i);
      if (name == "genres") genres = static_cast<int>(i);
    }
    if (id < 0 || title < 0) return false;
    id_column_ = id;
    title_column_ = title;
    genres_column_ = genres;
    return true;
  }

  absl::Status ParseLine(absl::string_view line, Titles* titles) {
    FACTORD_ASSIGN_OR_RETURN(const std::vector<absl::string_view>* all, splitter_.Split(line));
    const std::vector<absl::string_view>& fields = *all;
    if (fields.size() <= static_cast<size_t>(std::max(id_column_, title_column_))) {
      return absl::InvalidArgumentError(
          absl::StrCat("has ", fields.size(), " field(s): expected an id and a title"));
    }
    if (fields[id_column_].empty()) return absl::InvalidArgumentError("the item id is empty");
    Title title{std::string(fields[title_column_]), Genres(fields)};
    if (!titles->emplace(std::string(fields[id_column_]), std::move(title)).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("item ", QuoteForMessage(fields[id_column_]), " has a title already"));
    }
    return absl::OkStatus();
  }

 private:
  std::vector<std::string> Genres(const std::vector<absl::string_view>& fields) const {
    std::vector<std::string> genres;
    if (separator_ == "|") {
      for (size_t i = 0; i < std::size(kItemGenres); ++i) {
        const size_t column = kItemGenresColumn + i;
        if (column < fields.size() && fields[column] == "1") genres.emplace_back(kItemGenres[i]);
      }
    } else if (genres_column_ >= 0 && static_cast<size_t>(genres_column_) < fields.size()) {
      for (const absl::string_view genre : absl::StrSplit(fields[genres_column_], '|')) {
        if (!IsNoGenre(genre)) genres.emplace_back(genre);
      }
    }
    return genres;
  }

  const absl::string_view separator_;
  FieldSplitter splitter_;
  int id_column_ = 0;
  int title_column_ = 1;
  int genres_column_ = 2;
};

}  // namespace

absl::StatusOr<Titles> ReadTitles(std::unique_ptr<LineReader> lines) {
  Titles titles;
  std::unique_ptr<TitleParser> parser;
  while (true) {
    absl::StatusOr<absl::string_view> next = lines->Next();
    if (absl::IsOutOfRange(next.status())) return titles;
    const std::string place = absl::StrCat(lines->name(), ":", lines->line_number());
    if (absl::IsResourceExhausted(next.status())) {
      return absl::InvalidArgumentError(absl::StrCat(place, ": ", next.status().message()));
    }
    if (!next.ok()) return next.status();
    if (absl::StripAsciiWhitespace(*next).empty()) continue;
    const std::string line = IsValidUtf8(*next) ? std::string(*next) : Latin1ToUtf8(*next);
    if (parser == nullptr) {
      parser = std::make_unique<TitleParser>(line);
      if (parser->ParseHeader(line)) continue;
    }
    FACTORD_RETURN_IF_ERROR(Annotate(parser->ParseLine(line, &titles), place));
  }
}

absl::StatusOr<Titles> ReadTitles(const std::string& path) {
  FACTORD_ASSIGN_OR_RETURN(auto lines, LineReader::Open(path));
  return ReadTitles(std::move(lines));
}

}  // namespace factord
