// Random sequences of operations, against a model of them that is as plain as can be; and the other
// ways to the same state: all events applied at once, and replayed by every kind of instructions.
// FACTORD_SEED chooses other sequences.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/temp_folder.h"
#include "engine/engine.h"
#include "engine/test_util.h"
#include "engine/verify.h"
#include "gtest/gtest.h"
#include "model/kernels.h"

namespace factord {
namespace {

constexpr int kSequences = 12, kOperations = 120;
constexpr uint32_t kUsers = 12, kItems = 25;
constexpr int kForgetsNone = 1'000'000;  // a window for ids

namespace fs = std::filesystem;
using Outcome = EventResult::Outcome;

bool SameContent(const OwnedRating& a, const OwnedRating& b) {
  return a.user == b.user && a.item == b.item && a.is_click == b.is_click &&
         (a.is_click || a.rating == b.rating);
}

// What an engine has been told, and what it must answer.
struct PlainModel {
  int64_t dedupe_window = 0;
  std::vector<OwnedRating> log;
  int64_t log_before_request = 0;              // its own ids are not forgotten amid it
  std::map<std::string, size_t> by_id;         // place in the log
  std::map<std::string, int64_t> last_number;  // by producer
  std::map<std::string, std::set<std::string>> rated;
  std::set<std::string> items;

  // False: the whole request is refused, and nothing has changed.
  bool Record(const std::vector<OwnedRating>& events, bool allow_partial,
              std::vector<EventResult>* results) {
    const PlainModel before = *this;
    log_before_request = std::ssize(log);
    for (const OwnedRating& event : events) {
      results->push_back(RecordOne(event));
      if (results->back().outcome != Outcome::kConflict || allow_partial) continue;
      *this = before;
      return false;
    }
    return true;
  }

  EventResult RecordOne(const OwnedRating& event) {
    if (!event.producer.empty()) {
      if (event.number <= last_number[event.producer]) return {Outcome::kDuplicate, 0};
      last_number[event.producer] = event.number;
    } else if (const auto found = by_id.find(event.event_id);
               found != by_id.end() &&
               static_cast<int64_t>(found->second) >=
                   std::min(std::ssize(log) - dedupe_window, log_before_request)) {
      if (!SameContent(log[found->second], event)) return {Outcome::kConflict, 0};
      return {Outcome::kDuplicate, static_cast<int64_t>(found->second) + 1};
    }
    if (!event.event_id.empty()) by_id[event.event_id] = log.size();
    log.push_back(event);
    rated[event.user].insert(event.item);
    items.insert(event.item);
    return {Outcome::kApplied, static_cast<int64_t>(log.size())};
  }
};

// One sequence of operations on one folder.
class Checker {
 public:
  explicit Checker(uint32_t seed) : random_(seed), options_(TestOptions(folder_ / "data")) {
    options_.durability = Durability::kAsync;
    options_.log_retention = Below(2) == 0 ? LogRetention::kAll : LogRetention::kSnapshot;
    options_.config.rank = std::array{1, 8, 33}[Below(3)];
    options_.config.variant = std::array{Variant::kAdaptive, Variant::kAdaptive, Variant::kPa,
                                         Variant::kPaI, Variant::kPaII}[Below(5)];
    if (takes_clicks()) {
      options_.config.event_types = {{.name = "click"}};
      options_.config.replay = static_cast<int32_t>(Below(3));
    }
    options_.config.dedupe_window = model_.dedupe_window =
        std::array{5, 40, kForgetsNone, kForgetsNone}[Below(4)];
    engine_ = OpenOrDie(options_);
  }

  void Run() {
    for (int i = 0; i < kOperations && !::testing::Test::HasFailure(); ++i) {
      SCOPED_TRACE(absl::StrCat("operation ", i));
      const uint32_t choice = Below(20);
      if (choice < 13) {
        Record();
      } else if (choice < 17) {
        Recommend();
      } else if (choice < 19) {
        const auto snapshot = engine_->CreateSnapshot();
        EXPECT_TRUE(snapshot.ok()) << snapshot.status();
      } else if (Below(2) == 0) {
        Reopen();
      } else {
        OpenAsAfterACrash();
      }
      if (::testing::Test::HasFailure()) return;
      EXPECT_EQ(engine_->Info().sequence, std::ssize(model_.log));
    }
    if (::testing::Test::HasFailure()) return;
    const std::string hash = HashOf(*engine_);
    CheckAppliedAtOnce(hash);
    Reopen();
    EXPECT_EQ(HashOf(*engine_), hash);
    ASSERT_TRUE(engine_->Close().ok());
    engine_.reset();
    if (options_.log_retention == LogRetention::kAll) CheckReplays(hash);
  }

 private:
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  bool takes_clicks() const { return options_.config.variant == Variant::kAdaptive; }

  OwnedRating RandomEvent() {
    OwnedRating event = RandomRatings(static_cast<uint32_t>(random_()), 1, kUsers, kItems)[0];
    event.is_click = takes_clicks() && Below(4) == 0;
    const uint32_t choice = Below(10);
    if (choice < 4) {
      event.event_id = absl::StrCat("e", ++last_id_);
    } else if (choice < 6 && last_id_ > 0) {
      // One that was used, or was refused, with its content or another one.
      event.event_id = absl::StrCat("e", 1 + Below(last_id_));
      const auto found = model_.by_id.find(event.event_id);
      if (found != model_.by_id.end() && Below(3) > 0) event = model_.log[found->second];
    } else if (choice < 8) {
      event.producer = absl::StrCat("p", Below(3));
      const int64_t last = model_.last_number[event.producer];
      event.number = std::max<int64_t>(1, last - 1 + Below(5));
    }
    return event;
  }

  struct Request {
    std::vector<OwnedRating> events;
    bool allow_partial = false;
    bool is_taken = false;              // expected
    std::vector<EventResult> expected;  // if it is
    std::future<RecordResult> result;
  };

  std::vector<OwnedRating> RandomEvents() {
    std::vector<OwnedRating> events(1 + Below(6));
    for (OwnedRating& event : events) event = RandomEvent();
    return events;
  }

  Request MakeRequest(const std::vector<OwnedRating>& events) {
    Request request = {.events = events, .allow_partial = Below(2) == 0};
    request.is_taken = model_.Record(events, request.allow_partial, &request.expected);
    return request;
  }

  // One request, or several at once, of which those behind the first are mostly written together.
  // An id may then be forgotten later: only where none is.
  void Record() {
    const bool at_once = model_.dedupe_window == kForgetsNone && Below(3) == 0;
    std::vector<Request> requests(at_once ? 2 + Below(5) : 1);
    for (size_t i = 0; i < requests.size(); ++i) {
      // Now and then the one before, as from a client that has not waited for the answer.
      const bool is_repeated = i > 0 && Below(3) == 0;
      requests[i] = MakeRequest(is_repeated ? requests[i - 1].events : RandomEvents());
    }
    for (Request& request : requests) {
      request.result = Send(*engine_, request.events, request.allow_partial);
    }
    for (Request& request : requests) CheckResult(request.result.get(), request);
  }

  static void CheckResult(const RecordResult& result, const Request& request) {
    EXPECT_EQ(result.status.code(),
              request.is_taken ? absl::StatusCode::kOk : absl::StatusCode::kAlreadyExists)
        << result.status;
    if (!request.is_taken || !result.status.ok()) return;
    const std::vector<EventResult>& expected = request.expected;
    ASSERT_EQ(result.events.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(result.events[i].outcome, expected[i].outcome) << i;
      if (expected[i].outcome != Outcome::kConflict) {
        EXPECT_EQ(result.events[i].sequence, expected[i].sequence) << i;
      }
    }
  }

  // All that was not rated, the best first.
  void Recommend() {
    const std::string user = absl::StrCat("u", Below(kUsers));
    const auto answer = engine_->Recommend({.user_id = user, .max_items = kItems});
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->sequence, std::ssize(model_.log));
    std::set<std::string> expected = model_.items, there;
    for (const std::string& item : model_.rated[user]) expected.erase(item);
    for (size_t i = 0; i < answer->items.size(); ++i) {
      there.emplace(answer->items[i].item_id);
      if (i > 0) {
        EXPECT_GE(answer->items[i - 1].score, answer->items[i].score);
      }
    }
    EXPECT_EQ(there, expected) << user;
  }

  void Reopen() {
    ASSERT_TRUE(engine_->Close().ok());
    engine_.reset();
    engine_ = OpenOrDie(options_);
    ASSERT_NE(engine_, nullptr);
  }

  // What has come since the last snapshot is then in the log alone.
  void OpenAsAfterACrash() {
    const std::string hash = HashOf(*engine_);
    const std::string copy = folder_ / absl::StrCat("copy ", ++copies_);
    const auto files = [&] {  // an old log may still be on its way out
      std::map<std::string, uintmax_t> sizes;
      std::error_code gone;
      for (const auto& entry : fs::recursive_directory_iterator(options_.data_dir)) {
        sizes[entry.path()] = entry.file_size(gone);
      }
      return sizes;
    };
    int tries = 0;
    for (auto before = files();; before = files()) {
      ASSERT_LT(++tries, 1'000) << "the folder does not come to rest, or cannot be copied";
      std::error_code error;
      fs::remove_all(copy);
      fs::copy(options_.data_dir, copy, fs::copy_options::recursive, error);
      if (!error && files() == before) break;
    }
    options_.data_dir = copy;
    engine_ = OpenOrDie(options_);
    ASSERT_NE(engine_, nullptr);
    EXPECT_EQ(HashOf(*engine_), hash);
  }

  void CheckAppliedAtOnce(const std::string& hash) {
    EngineOptions options = options_;
    options.data_dir = folder_ / "at once";
    auto engine = OpenOrDie(options);
    // All in one request, unless ids have to be forgotten between them.
    const size_t step = model_.dedupe_window < std::ssize(model_.log) ? 1 : model_.log.size();
    for (size_t i = 0; i < model_.log.size(); i += step) {
      const auto first = model_.log.begin() + static_cast<std::ptrdiff_t>(i);
      ASSERT_TRUE(factord::Record(*engine, {first, first + static_cast<std::ptrdiff_t>(step)},
                                  /*allow_partial=*/true)
                      .status.ok());
    }
    EXPECT_EQ(HashOf(*engine), hash);
  }

  // A process of its own for each kind: it is chosen once.
  void CheckReplays(const std::string& hash) {
    int replays = 0;
    for (const char* const kernels : {"scalar", "sse2", "avx2", "avx512"}) {
      if (!KernelsByName(kernels).ok()) continue;
      ++replays;
      const std::string command = absl::StrCat("FACTORD_SIMD=", kernels, " /proc/", getpid(),
                                               "/exe --verify '", options_.data_dir, "'");
      std::FILE* const output = popen(command.c_str(), "r");
      std::array<char, 200> line{};
      EXPECT_NE(std::fgets(line.data(), line.size(), output), nullptr);
      EXPECT_EQ(pclose(output), 0);
      EXPECT_EQ(line.data(), absl::StrCat(kernels, " ", hash, "\n"));
    }
#if defined(__x86_64__) && !defined(FACTORD_SCALAR_KERNELS)
    EXPECT_GE(replays, 2);  // each has SSE2
#endif
  }

  std::mt19937 random_;
  const TempFolder folder_{TempFolder::Place::kMemory};
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  PlainModel model_;
  uint32_t last_id_ = 0;
  int copies_ = 0;
};

TEST(ModelCheckTest, RandomOperations) {
  const char* const text = std::getenv("FACTORD_SEED");
  const auto first = text != nullptr ? static_cast<uint32_t>(std::strtoul(text, nullptr, 10)) : 1;
  for (uint32_t seed = first; seed < first + kSequences; ++seed) {
    SCOPED_TRACE(absl::StrCat("FACTORD_SEED=", seed));
    Checker(seed).Run();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace factord

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--verify") {
    const auto verified = factord::VerifyFolder(argv[2]);
    if (!verified.ok()) {
      std::cout << verified.status() << std::endl;
      return 1;
    }
    std::cout << factord::ActiveKernels().name << " " << verified->hash.ToHex() << std::endl;
    return 0;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
