// Reads the titles that go with a rating file.
//
//   FACTORD_ASSIGN_OR_RETURN(Titles titles, ReadTitles("movies.csv"));
//   if (auto it = titles.find("31"); it != titles.end()) Print(it->second.title);
//
// Formats, told apart by the first line:
//
//   movieId,title,genres                   movies.csv, with its header (by column names) or without
//   1::Toy Story (1995)::Animation|Comedy  movies.dat of MovieLens 1M and 10M
//   1|Toy Story (1995)|01-Jan-1995|...     u.item of MovieLens 100K: 19 columns of 0 and 1 are its
//   genres
//
// Lines that are not UTF-8 are taken for latin-1, as the older sets are written.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "ratings/line_reader.h"

namespace factord {

struct Title {
  std::string title;
  std::vector<std::string> genres;
};

// By item id.
using Titles = absl::flat_hash_map<std::string, Title>;

// INVALID_ARGUMENT with file, line and reason for a malformed line or an id that occurs twice;
// otherwise LineReader's errors.
absl::StatusOr<Titles> ReadTitles(const std::string& path);
absl::StatusOr<Titles> ReadTitles(std::unique_ptr<LineReader> lines);

}  // namespace factord
