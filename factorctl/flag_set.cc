#include "factorctl/flag_set.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"

namespace factord {
namespace {

constexpr char kUsagePayload[] = "factorctl/usage";

bool IsFlag(absl::string_view argument) {
  // "-" is standard input, "-1" a number.
  return argument.size() >= 2 && argument[0] == '-' && !absl::ascii_isdigit(argument[1]) &&
         argument[1] != '.';
}

std::string Normalize(absl::string_view name) { return absl::StrReplaceAll(name, {{"-", "_"}}); }

std::string Dashes(absl::string_view name) {
  return absl::StrCat(name.size() == 1 ? "-" : "--", name);
}

// Levenshtein's distance.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

absl::Status UsageError(absl::string_view message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value();
}

absl::StatusOr<int64_t> ParseInt(absl::string_view what, absl::string_view text) {
  int64_t value;
  if (absl::SimpleAtoi(text, &value)) return value;
  return UsageError(absl::StrCat(what, ": '", text, "' is not a whole number"));
}

absl::StatusOr<double> ParseNumber(absl::string_view what, absl::string_view text) {
  double value;
  if (absl::SimpleAtod(text, &value)) return value;
  return UsageError(absl::StrCat(what, ": '", text, "' is not a number"));
}

absl::StatusOr<int32_t> ToInt32(absl::string_view what, int64_t value) {
  if (value >= std::numeric_limits<int32_t>::min() &&
      value <= std::numeric_limits<int32_t>::max()) {
    return static_cast<int32_t>(value);
  }
  return UsageError(absl::StrCat(what, ": ", value, " is out of range"));
}

std::string NearestName(absl::string_view word, absl::Span<const std::string> candidates) {
  constexpr size_t kMostMistakes = 2;
  std::string nearest;
  size_t least = kMostMistakes + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = Distance(word, candidate);
    // A word of two letters is two mistakes away from every other.
    if (distance < least && distance < word.size()) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

void FlagSet::Add(absl::string_view name, std::string* value, absl::string_view value_name,
                  absl::string_view help) {
  AddFlag({{std::string(name), std::string(value_name), std::string(help)},
           *value,
           {},
           [value](absl::string_view text) {
             *value = std::string(text);
             return absl::OkStatus();
           }});
}

void FlagSet::Add(absl::string_view name, int64_t* value, absl::string_view value_name,
                  absl::string_view help) {
  AddFlag({{std::string(name), std::string(value_name), std::string(help)},
           absl::StrCat(*value),
           {},
           [value, what = Dashes(name)](absl::string_view text) -> absl::Status {
             FACTORD_ASSIGN_OR_RETURN(*value, ParseInt(what, text));
             return absl::OkStatus();
           }});
}

void FlagSet::Add(absl::string_view name, double* value, absl::string_view value_name,
                  absl::string_view help) {
  AddFlag({{std::string(name), std::string(value_name), std::string(help)},
           absl::StrCat(*value),
           {},
           [value, what = Dashes(name)](absl::string_view text) -> absl::Status {
             FACTORD_ASSIGN_OR_RETURN(*value, ParseNumber(what, text));
             return absl::OkStatus();
           }});
}

void FlagSet::Add(absl::string_view name, std::optional<int64_t>* value,
                  absl::string_view value_name, absl::string_view help) {
  AddFlag({{std::string(name), std::string(value_name), std::string(help)},
           "",
           {},
           [value, what = Dashes(name)](absl::string_view text) -> absl::Status {
             FACTORD_ASSIGN_OR_RETURN(*value, ParseInt(what, text));
             return absl::OkStatus();
           }});
}

void FlagSet::Add(absl::string_view name, std::optional<double>* value,
                  absl::string_view value_name, absl::string_view help) {
  AddFlag({{std::string(name), std::string(value_name), std::string(help)},
           "",
           {},
           [value, what = Dashes(name)](absl::string_view text) -> absl::Status {
             FACTORD_ASSIGN_OR_RETURN(*value, ParseNumber(what, text));
             return absl::OkStatus();
           }});
}

void FlagSet::Add(absl::string_view name, bool* value, absl::string_view help) {
  AddFlag({{std::string(name), "", std::string(help)},
           "",
           {},
           [value, what = Dashes(name)](absl::string_view text) -> absl::Status {
             if (absl::SimpleAtob(text, value)) return absl::OkStatus();
             return UsageError(absl::StrCat(what, ": '", text, "' is neither true nor false"));
           }});
}

void FlagSet::Alias(absl::string_view alias, absl::string_view name) {
  Find(name)->aliases.emplace_back(alias);
}

FlagSet::Flag* FlagSet::Find(absl::string_view name) {
  for (Flag& flag : flags_) {
    if (flag.name == name ||
        std::find(flag.aliases.begin(), flag.aliases.end(), name) != flag.aliases.end()) {
      return &flag;
    }
  }
  return nullptr;
}

absl::Status FlagSet::UnknownFlag(absl::string_view argument, absl::string_view name) const {
  std::vector<std::string> names;
  for (const Flag& flag : flags_) names.push_back(flag.name);
  const std::string nearest = NearestName(name, names);
  return UsageError(
      absl::StrCat("unknown flag ", argument, nearest.empty() ? "" : "; did you mean ",
                   nearest.empty() ? "" : Dashes(nearest), nearest.empty() ? "" : "?"));
}

absl::Status FlagSet::ParseOne(absl::Span<const std::string> arguments, size_t* position) {
  const absl::string_view argument = arguments[(*position)++];
  const bool is_long = absl::StartsWith(argument, "--");
  absl::string_view text = argument.substr(is_long ? 2 : 1);
  std::optional<absl::string_view> value;
  if (const size_t equals = text.find('='); equals != absl::string_view::npos) {
    value = text.substr(equals + 1);
    text = text.substr(0, equals);
  } else if (!is_long && text.size() > 1) {  // -k5
    value = text.substr(1);
    text = text.substr(0, 1);
  }
  const std::string name = Normalize(text);
  Flag* const flag = Find(name);
  if (flag == nullptr || is_long != (name.size() > 1)) {
    return UnknownFlag(argument.substr(0, argument.find('=')), name);
  }
  if (!value.has_value()) {
    if (flag->value_name.empty()) {
      value = "true";
    } else if (*position < arguments.size()) {
      value = arguments[(*position)++];
    } else {
      return UsageError(absl::StrCat(argument, " needs a value: ", flag->value_name));
    }
  }
  return flag->set(*value);
}

absl::Status FlagSet::Parse(absl::Span<const std::string> arguments,
                            std::vector<std::string>* positional) {
  size_t position = 0;
  while (position < arguments.size()) {
    if (arguments[position] == "--") {
      positional->insert(positional->end(), arguments.begin() + position + 1, arguments.end());
      return absl::OkStatus();
    }
    if (IsFlag(arguments[position])) {
      FACTORD_RETURN_IF_ERROR(ParseOne(arguments, &position));
    } else {
      positional->push_back(arguments[position++]);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> FlagSet::ParseLeading(absl::Span<const std::string> arguments) {
  size_t position = 0;
  while (position < arguments.size() && IsFlag(arguments[position])) {
    FACTORD_RETURN_IF_ERROR(ParseOne(arguments, &position));
  }
  return position;
}

std::vector<FlagSet::Info> FlagSet::List() const {
  return std::vector<Info>(flags_.begin(), flags_.end());
}

std::string FlagSet::Help() const {
  constexpr size_t kColumn = 26;
  std::string help;
  for (const Flag& flag : flags_) {
    std::string line = "  ";
    for (const std::string& alias : flag.aliases) absl::StrAppend(&line, Dashes(alias), ", ");
    absl::StrAppend(&line, Dashes(flag.name));
    if (!flag.value_name.empty()) absl::StrAppend(&line, " ", flag.value_name);
    if (line.size() + 2 > kColumn) {
      absl::StrAppend(&help, line, "\n");
      line.clear();
    }
    line.resize(kColumn, ' ');
    absl::StrAppend(&help, line, flag.help);
    if (!flag.default_text.empty()) {
      absl::StrAppend(&help, " (default: ", flag.default_text, ")");
    }
    absl::StrAppend(&help, "\n");
  }
  return help;
}

}  // namespace factord
