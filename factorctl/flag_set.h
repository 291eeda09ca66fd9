// The flags of one command.
//
//   FlagSet flags;
//   flags.Add("format", &format, "NAME", "auto, csv, dat or tab");
//   flags.Add("json", &json, "print JSON");                        // a switch: takes no value
//   FACTORD_RETURN_IF_ERROR(flags.Parse({"--format=csv", "in.csv"}, &positional));
//
// Written --name=value, --name value, --switch, --switch=false, and -k value or -k5 for names of
// one letter. Dashes and underscores within a name are the same. "--" ends the flags; "-" and
// negative numbers are arguments.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"

namespace factord {

// A mistake in the command line (INVALID_ARGUMENT), told apart from an INVALID_ARGUMENT of the
// server.
absl::Status UsageError(absl::string_view message);
bool IsUsageError(const absl::Status& status);

// The whole of `text` as a number; a usage error that names `what`.
absl::StatusOr<int64_t> ParseInt(absl::string_view what, absl::string_view text);
absl::StatusOr<double> ParseNumber(absl::string_view what, absl::string_view text);

// `value` for a field of 32 bits; a usage error that names `what` if it does not fit.
absl::StatusOr<int32_t> ToInt32(absl::string_view what, int64_t value);

// The candidate nearest to `word`, within two typing mistakes; empty: none is.
std::string NearestName(absl::string_view word, absl::Span<const std::string> candidates);

class FlagSet {
 public:
  // `value` keeps its value where the flag is not given, must outlive Parse, and its value is what
  // the help calls the default. `value_name` is what the help calls the value.
  void Add(absl::string_view name, std::string* value, absl::string_view value_name,
           absl::string_view help);
  void Add(absl::string_view name, int64_t* value, absl::string_view value_name,
           absl::string_view help);
  void Add(absl::string_view name, double* value, absl::string_view value_name,
           absl::string_view help);
  // Empty: not given.
  void Add(absl::string_view name, std::optional<int64_t>* value, absl::string_view value_name,
           absl::string_view help);
  void Add(absl::string_view name, std::optional<double>* value, absl::string_view value_name,
           absl::string_view help);
  void Add(absl::string_view name, bool* value, absl::string_view help);
  // Another, shorter or longer, name for a flag that has been added.
  void Alias(absl::string_view alias, absl::string_view name);

  // Sets the values and appends everything else to *positional. Usage errors: an unknown flag (with
  // the nearest known one), a missing or malformed value.
  absl::Status Parse(absl::Span<const std::string> arguments, std::vector<std::string>* positional);
  // Only the flags before the first argument; returns how many of `arguments` they are.
  absl::StatusOr<size_t> ParseLeading(absl::Span<const std::string> arguments);

  // One line for each flag, in the order of Add.
  std::string Help() const;

  // What completion has to know of a flag.
  struct Info {
    std::string name;
    std::string value_name;  // empty: a switch
    std::string help;
  };
  std::vector<Info> List() const;

 private:
  struct Flag : Info {
    std::string default_text;
    std::vector<std::string> aliases;
    std::function<absl::Status(absl::string_view)> set;
  };

  void AddFlag(Flag flag) { flags_.push_back(std::move(flag)); }
  Flag* Find(absl::string_view name);
  absl::Status UnknownFlag(absl::string_view argument, absl::string_view name) const;
  // Takes the flag at arguments[*position] and its value; moves *position behind them.
  absl::Status ParseOne(absl::Span<const std::string> arguments, size_t* position);

  std::vector<Flag> flags_;
};

}  // namespace factord
