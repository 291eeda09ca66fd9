// The crash campaign: a server under load is killed at random instants and at named points, again
// and again, and what clients were promised is held against what is there in the end.
//
// One round: the writers of clients.h load a server that keeps its whole log, through many kills;
// then history.h checks the log, and `factorctl verify` and the next server must come to the same
// state. That log is sent in its order to a server that trims its own, through as many kills again,
// and it must end with the same hash. In every other round every other kill is a power loss, too,
// which takes what none of the servers since the last one has synced. It may take nothing that a
// server which syncs has acknowledged, nor what any server has found. From one that does not sync,
// in the second of the two, it may take what came last, which is then sent again: the same hash in
// the end shows that it left no hole.
//
// --kills=N (default 16) or --duration=SECONDS: how long. --seed=N: of every choice. --tally=FILE
// [--commit=ID]: appends a line of JSON with what was counted (tools/crash_campaign.sh).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/verify.h"
#include "tests/crash/clients.h"
#include "tests/crash/faulty_disk.h"
#include "tests/crash/history.h"
#include "tests/crash/kill_switch.h"

namespace factord {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct CampaignOptions {
  int kills = 16;
  int duration_seconds = 0;  // 0: so many kills instead
  uint64_t seed = 20240501;
  std::string tally;
  std::string commit;
};
CampaignOptions options;

constexpr int kUnaryWriters = 4, kStreams = 2;
// Of one folder, before its history is checked.
constexpr int kKillsARound = 30;
// In seconds: no test lasts so long, and a clock that is off by more has jumped.
constexpr int64_t kOneDayAndMore = 100'000;
// A server passes a point of its load many times in this while, if it does at all.
constexpr milliseconds kArmed(1500);

// What all rounds have counted.
struct Tally {
  int64_t kills = 0;         // with an event acknowledged since the start, and another in flight
  int64_t in_snapshot = 0;   // of those: amid a snapshot, or the trim after it
  int64_t other_kills = 0;   // while starting or closing, or with nothing in flight
  int64_t closes = 0;        // clean ones
  int64_t power_losses = 0;  // after any of these
  int64_t acknowledged = 0;  // events
  int64_t taken_back = 0;    // of those: what power losses took from servers that do not sync
  Verdict verdict;
  // Of `kills` at each; while starting or closing, of the others.
  std::map<std::string, int64_t> points;
};
Tally tally;

const char* PhaseName(unsigned phase) {
  switch (phase) {
    case kUnderLoad:
      return "load";
    case kTrimming:
      return "trimming";
    case kRecovering:
      return "recovery";
    case kReopening:
      return "reopening";
    default:
      return "closing";
  }
}

// The same name may be a point of two phases.
std::string PointName(int point, unsigned phase) {
  return absl::StrCat(PhaseName(phase), ": ", kKillPoints[point].name);
}

// Neither may lose anything to a SIGKILL.
Durability RandomDurability(std::mt19937_64& random) {
  return random() % 2 == 0 ? Durability::kAsync : Durability::kSync;
}

// Snapshots are frequent, so that many kills meet one.
std::vector<std::string> Flags(const std::string& data_dir, const std::string& retention,
                               Durability durability, std::mt19937_64& random) {
  return {"--data_dir=" + data_dir,
          "--log_retention=" + retention,
          durability == Durability::kAsync ? "--durability=async" : "--durability=sync",
          "--snapshot_interval=" + std::to_string(20 + random() % 200) + "ms",
          "--snapshot_log_bytes=" + std::to_string(10'000 + random() % 100'000),
          "--rank=8",
          absl::StrCat("--event_types=", kEventType),
          "--dedupe_window=100000"};
}

// Starts servers on one folder, one after the other, and kills each.
class Killer {
 public:
  // `load`: kUnderLoad, or kTrimming too. `clients`: how many wait for `address`. `loses_power`:
  // what was not synced is lost with every other kill. `end_may_be_lost`: set where that may have
  // taken what a server had acknowledged; null: all servers sync then.
  Killer(std::string data_dir, std::string retention, unsigned load, bool loses_power,
         std::atomic<bool>* end_may_be_lost, Address* address, Counts* counts, int clients,
         uint64_t seed)
      : data_dir_(std::move(data_dir)),
        retention_(std::move(retention)),
        load_(load),
        loses_power_(loses_power && FaultyDisk::IsPossible()),
        end_may_be_lost_(end_may_be_lost),
        disk_(data_dir_),
        address_(address),
        counts_(counts),
        clients_(clients),
        seed_(seed) {}

  // One server, from its start to its end by a kill. Its choices are its own: they do not depend on
  // how long those before it lived.
  void KillOne() {
    random_.seed(seed_ + ++kills_);
    const Durability durability =
        loses_power_ && end_may_be_lost_ == nullptr ? Durability::kSync : RandomDurability(random_);
    KillOneServer(durability);
    if (!loses_power_ || ::testing::Test::HasFailure()) return;
    power_was_lost_ = kills_ == 2 || Below(2) == 0;
    if (!power_was_lost_) return;
    disk_.LosePower(&random_);
    ++tally.power_losses;
    if (has_unsynced_) *end_may_be_lost_ = true;
    has_unsynced_ = false;
  }
  // Whether a server has served with a clock that was days off.
  bool has_jumped_while_serving() const { return has_jumped_while_serving_; }

 private:
  void KillOneServer(Durability durability) {
    kill_switch_.Reset();
    clock_offset_ = 0;
    JumpInTime();
    const uint64_t choice = Below(16);
    const bool may_reopen = Below(2) > 0;
    const bool is_closed = std::filesystem::exists(data_dir_ + "/EVIDENCE");
    const unsigned start = is_closed && may_reopen ? kReopening : kRecovering;
    const bool while_recovering = choice < 4 || start == kReopening;
    int point = -1;
    if (while_recovering) {
      if (Below(8) > 0) point = LeastTried(start);
      if (point >= 0) kill_switch_.Arm(point, 1);
    }
    std::vector<std::string> environment = kill_switch_.Environment();
    if (loses_power_) disk_.Prepare(&environment, power_was_lost_);
    ServerProcess server(Flags(data_dir_, retention_, durability, random_), environment);
    bool serves = false;
    if (while_recovering && point < 0) {
      std::this_thread::sleep_for(milliseconds(Below(100)));
      server.Signal(SIGKILL);
    } else {
      serves = server.WaitForOutput("serving");
      kill_switch_.Disarm();  // it has passed by it, or else is dead
    }
    if (while_recovering && (!serves || kill_switch_.killed_at() >= 0)) {
      EXPECT_EQ(server.Wait().exit_code, -SIGKILL) << server.output();
      EXPECT_EQ(kill_switch_.killed_at(), point);
      CountOther(start);
      return;
    }
    server.WaitUntilServing();
    if (::testing::Test::HasFailure()) return;  // it does not start
    EXPECT_NE(kill_switch_.is_hooked(), kill_switch_.Environment().empty());
    Load(server);
    has_unsynced_ = durability == Durability::kAsync;  // what it has found is synced
    if (choice == 4 || choice == 5) {
      const bool is_clean = Close(server, /*at_a_point=*/choice == 4);
      address_->AwaitWaiting(clients_);
      if (is_clean) {
        ++tally.closes;
        has_unsynced_ = false;
      } else {
        CountOther(kClosing);
      }
      return;
    }
    const auto [phase, time] = Kill(server, /*at_a_point=*/choice >= 8);
    address_->AwaitWaiting(clients_);
    const auto in_flight_since = counts_->TakeUnanswered();
    if (in_flight_since.has_value() && *in_flight_since < time) {
      ++tally.kills;
      tally.in_snapshot += kill_switch_.in_snapshot();
      CountPoint(phase);
    } else {
      ++tally.other_kills;
    }
  }

  // Now and then, by ten days at most.
  void JumpInTime() {
    constexpr int64_t kTenDays = 864'000;
    if (Below(4) > 0) return;
    clock_offset_ = static_cast<int64_t>(Below(2 * kTenDays)) - kTenDays;
    kill_switch_.SetClockOffset(clock_offset_);
  }

  void CountOther(unsigned phase) {
    ++tally.other_kills;
    CountPoint(phase);
  }

  uint64_t Below(uint64_t n) { return random_() % n; }

  // -1: none can be armed.
  int LeastTried(unsigned phase) {
    std::vector<int> least;
    int64_t fewest = 0;
    if (kill_switch_.Environment().empty()) return -1;
    for (int i = 0; i < static_cast<int>(kKillPointCount); ++i) {
      if ((kKillPoints[i].phases & phase) == 0) continue;
      const int64_t times = tried_[PointName(i, phase)];
      if (least.empty() || times < fewest) {
        least.clear();
        fewest = times;
      }
      if (times == fewest) least.push_back(i);
    }
    const int point = least[Below(least.size())];
    ++tried_[PointName(point, phase)];
    return point;
  }

  void CountPoint(unsigned phase) {
    if (kill_switch_.killed_at() < 0) return;
    ++tally.points[PointName(kill_switch_.killed_at(), phase)];
  }

  // The clients come; until one has been told that an event is safe.
  void Load(ServerProcess& server) {
    counts_->TakeUnanswered();
    const int64_t acknowledged = counts_->acknowledged;
    address_->Set(server.channel());
    const auto until = steady_clock::now() + kPatience;
    while (counts_->acknowledged == acknowledged && steady_clock::now() < until) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    EXPECT_GT(counts_->acknowledged, acknowledged) << server.output();
    has_jumped_while_serving_ |=
        kill_switch_.is_hooked() && std::abs(clock_offset_) > kOneDayAndMore;
  }

  struct Killed {
    unsigned phase = 0;
    SteadyTime time;  // what was sent before it was in flight
  };

  Killed Kill(ServerProcess& server, bool at_a_point) {
    Sleep(Below(75'000));
    JumpInTime();
    Sleep(Below(75'000));
    bool is_stopped = false;
    SteadyTime time;
    if (Below(8) == 0) {
      time = steady_clock::now();
      server.Signal(SIGSTOP);
      Sleep(Below(Below(16) == 0 ? 3'000'000 : 50'000));
      is_stopped = Below(2) == 0;  // and is killed where it stands
      if (!is_stopped) {
        server.Signal(SIGCONT);
        Sleep(Below(50'000));
      }
    }
    const unsigned phase = load_ == kUnderLoad || Below(3) == 0 ? kUnderLoad : kTrimming;
    address_->ExpectEnd();
    int point = at_a_point ? LeastTried(phase) : -1;
    if (point >= 0) {
      if (is_stopped) server.Signal(SIGCONT);
      kill_switch_.Arm(point, 1 + static_cast<int>(Below(3)));
      if (server.EndsWithin(kArmed)) {
        EXPECT_EQ(kill_switch_.killed_at(), point) << server.output();
      } else {
        EXPECT_TRUE(kill_switch_.killed_at() < 0 || server.EndsWithin(kArmed))
            << "came to " << PointName(point, phase) << " and was not killed";
        is_stopped = false;
        point = -1;
      }
    }
    if (point < 0) {
      if (!is_stopped) time = steady_clock::now();
      server.Signal(SIGKILL);
    }
    EXPECT_EQ(server.Wait().exit_code, -SIGKILL) << server.output();
    if (kill_switch_.killed_at() >= 0) time = kill_switch_.killed_time();
    return {phase, time};
  }

  static void Sleep(uint64_t micros) {
    std::this_thread::sleep_for(std::chrono::microseconds(micros));
  }

  // Unless it is killed at a point, it may be at any time. Whether it was not.
  bool Close(ServerProcess& server, bool at_a_point) {
    const int point = at_a_point ? LeastTried(kClosing) : -1;
    address_->ExpectEnd();
    if (point >= 0) kill_switch_.Arm(point, 1);
    server.Signal(SIGTERM);
    const bool is_impatient = point < 0 && Below(2) == 0;
    if (is_impatient) {
      Sleep(Below(30'000));
      server.Signal(SIGKILL);
    }
    const Ended ended = server.Wait();
    if (is_impatient && ended.exit_code == -SIGKILL) return false;
    EXPECT_EQ(ended.exit_code, kill_switch_.killed_at() >= 0 ? -SIGKILL : kExitOk) << ended.output;
    return ended.exit_code == kExitOk;
  }

  const std::string data_dir_, retention_;
  const unsigned load_;
  const bool loses_power_;
  std::atomic<bool>* const end_may_be_lost_;
  FaultyDisk disk_;
  Address* const address_;
  Counts* const counts_;
  const int clients_;
  const uint64_t seed_;
  uint64_t kills_ = 0;
  std::mt19937_64 random_;
  KillSwitch kill_switch_;
  int64_t clock_offset_ = 0;  // seconds
  bool has_jumped_while_serving_ = false;
  bool power_was_lost_ = true;  // with the last server, or there was none
  bool has_unsynced_ = false;   // what was acknowledged may not be synced
  // Of all rounds, so that no point is left behind.
  static inline std::map<std::string, int64_t> tried_;
};

// Sends a log in its order, and goes on where the next server stands.
class Replayer {
 public:
  Replayer(const std::vector<LoggedEvent>* log, Address* address, Counts* counts, uint64_t seed)
      : log_(*log), address_(address), counts_(counts), random_(seed), thread_([this] { Run(); }) {}
  void Join() { thread_.join(); }
  // For a Killer: the next server may have less than one before had acknowledged.
  std::atomic<bool>* end_may_be_lost() { return &end_may_be_lost_; }
  bool done() const { return !end_may_be_lost_ && next_ == log_.size(); }
  size_t next() const { return next_; }

 private:
  void Run() {
    int generation = 0;
    int64_t found = 0;
    while (const auto channel = address_->WaitForNewer(&generation)) {
      grpc::ClientContext context;
      v1::GetModelResponse model;
      const grpc::Status asked = v1::ModelService::NewStub(channel)->GetModel(&context, {}, &model);
      if (!asked.ok()) {
        address_->CheckUnanswered(asked);
        continue;
      }
      // What a server has found is on the disk, whatever becomes of what it adds.
      const int64_t safe = end_may_be_lost_ ? found : static_cast<int64_t>(next_);
      if (model.sequence() < safe) {
        tally.verdict.lost += safe - model.sequence();
        ADD_FAILURE() << "lost: " << safe << " safe, " << model.sequence() << " there";
      }
      tally.taken_back += std::max<int64_t>(0, static_cast<int64_t>(next_) - model.sequence());
      found = model.sequence();
      next_ = static_cast<size_t>(model.sequence());
      end_may_be_lost_ = false;
      while (!done()) {
        const SentInOrder sent = SendSome(channel, log_, next_, 1 + random_() % 8);
        if (!sent.status.ok()) {
          address_->CheckUnanswered(sent.status);
          counts_->AddUnanswered(sent.begun);
          break;
        }
        counts_->acknowledged += static_cast<int64_t>(sent.next - next_);
        next_ = sent.next;
      }
    }
  }

  const std::vector<LoggedEvent>& log_;
  Address* const address_;
  Counts* const counts_;
  std::mt19937_64 random_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> end_may_be_lost_{false};
  std::thread thread_;
};

// `factorctl verify` and `factorctl log` agree with what is there.
void CheckWithTheTool(const std::string& data, const std::vector<LoggedEvent>& log) {
#ifdef FACTORCTL_BINARY
  Ended tool = RunProgram({FACTORCTL_BINARY, "verify", data});
  EXPECT_EQ(tool.exit_code, 0) << tool.output;
  tool = RunProgram({FACTORCTL_BINARY, "log", data});
  EXPECT_EQ(tool.exit_code, 0) << tool.output;
  std::vector<std::string> lines = absl::StrSplit(tool.output, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), log.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_THAT(lines[i], ::testing::StartsWith(absl::StrCat(log[i].sequence, "\t", log[i].user,
                                                             "\t", log[i].item, "\t")));
  }
#endif
}

// The times that servers have given to events are now and then off by days.
void CheckThatClocksJumped(const std::vector<LoggedEvent>& log) {
  const int64_t now = std::time(nullptr);
  EXPECT_TRUE(std::any_of(log.begin(), log.end(), [&](const LoggedEvent& event) {
    return event.time_is_servers && std::abs(event.time_micros / 1'000'000 - now) > kOneDayAndMore;
  }));
}

// Returns the log that is left, and its hash.
std::vector<LoggedEvent> KillUnderLoad(const std::string& data, int kills, bool loses_power,
                                       uint64_t seed, std::string* hash) {
  std::mt19937_64 random(seed);
  Address address;
  Counts counts;
  std::vector<std::unique_ptr<UnaryWriter>> writers;
  std::vector<std::unique_ptr<StreamWriter>> streams;
  for (int i = 0; i < kUnaryWriters; ++i) {
    writers.push_back(
        std::make_unique<UnaryWriter>(&address, &counts, seed + 100 + i, absl::StrCat("w", i)));
  }
  for (int i = 0; i < kStreams; ++i) {
    streams.push_back(
        std::make_unique<StreamWriter>(&address, &counts, seed + 200 + i, absl::StrCat("p", i)));
  }
  Killer killer(data, "all", kUnderLoad, loses_power, /*end_may_be_lost=*/nullptr, &address,
                &counts, kUnaryWriters + kStreams, random());
  for (int kill = 0; kill < kills && !::testing::Test::HasFailure(); ++kill) killer.KillOne();
  {
    // The last one ends well, after the clients.
    ServerProcess server(Flags(data, "all", RandomDurability(random), random));
    server.WaitUntilServing();
    address.Set(server.channel());
    std::this_thread::sleep_for(milliseconds(100));
    address.Close();
    EXPECT_EQ(server.Stop(), kExitOk);
  }
  std::vector<std::vector<SentRequest>> sent_requests;
  std::vector<SentStream> sent_streams;
  for (auto& writer : writers) {
    writer->Join();
    sent_requests.push_back(writer->sent());
  }
  for (auto& stream : streams) {
    stream->Join();
    sent_streams.push_back(stream->sent());
  }
  tally.acknowledged += counts.acknowledged;

  std::vector<LoggedEvent> log = ReadLog(data);
  const Verdict verdict = CheckHistory(log, sent_requests, sent_streams);
  if (killer.has_jumped_while_serving()) CheckThatClocksJumped(log);
  tally.verdict.lost += verdict.lost + counts.lost;
  tally.verdict.doubled += verdict.doubled;
  // Replayed from empty, the log gives the state that the server left.
  const auto verified = VerifyFolder(data);
  EXPECT_TRUE(verified.ok()) << verified.status();
  if (!verified.ok()) return log;
  EXPECT_EQ(verified->events, static_cast<int64_t>(log.size()));
  *hash = verified->hash.ToHex();
  ServerProcess server(Flags(data, "all", RandomDurability(random), random));
  server.WaitUntilServing();
  EXPECT_EQ(ComputeHash(server).hash(), *hash);
  CheckSeenItems(server, log);
  EXPECT_EQ(server.Stop(), kExitOk);
  CheckWithTheTool(data, log);
  return log;
}

// A server that trims its log, given the same events in the same order, comes to the same state.
void KillWhileTrimming(const std::string& data, const std::vector<LoggedEvent>& log,
                       const std::string& hash, int kills, bool loses_power, uint64_t seed) {
  std::mt19937_64 random(seed + 1);
  Address address;
  Counts counts;
  Replayer replayer(&log, &address, &counts, seed + 300);
  Killer killer(data, "snapshot", kUnderLoad | kTrimming, loses_power, replayer.end_may_be_lost(),
                &address, &counts, 1, random());
  // The end of the log is left for the last server.
  for (int kill = 0;
       kill < kills && replayer.next() + 500 < log.size() && !::testing::Test::HasFailure();
       ++kill) {
    killer.KillOne();
  }
  {
    ServerProcess server(Flags(data, "snapshot", RandomDurability(random), random));
    server.WaitUntilServing();
    address.Set(server.channel());
    // As long as it goes on: many events may be left, and the machine busy.
    auto until = steady_clock::now() + kPatience;
    for (size_t last = 0; !replayer.done() && steady_clock::now() < until;) {
      if (const size_t next = replayer.next(); next != last) {
        last = next;
        until = steady_clock::now() + kPatience;
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    EXPECT_TRUE(replayer.done()) << server.output();
    address.Close();
    replayer.Join();
    const v1::ComputeHashResponse trimmed = ComputeHash(server);
    EXPECT_EQ(trimmed.sequence(), std::ssize(log));
    EXPECT_EQ(trimmed.hash(), hash);
    EXPECT_EQ(server.Stop(), kExitOk);
  }
  tally.acknowledged += counts.acknowledged;
  ServerProcess server(Flags(data, "snapshot", RandomDurability(random), random));
  server.WaitUntilServing();
  EXPECT_GT(GetModel(server).log_start_sequence(), 1);  // it did trim
  EXPECT_EQ(ComputeHash(server).hash(), hash);
  CheckSeenItems(server, log);
}

std::string TallyLine(double run_seconds) {
  // Also those that were never reached.
  for (int i = 0; i < static_cast<int>(kKillPointCount); ++i) {
    for (const unsigned phase : {kUnderLoad, kTrimming, kRecovering, kClosing, kReopening}) {
      if ((kKillPoints[i].phases & phase) != 0) tally.points.try_emplace(PointName(i, phase));
    }
  }
  std::vector<std::string> points;
  for (const auto& [name, count] : tally.points) {
    points.push_back(absl::StrCat("\"", name, "\": ", count));
  }
  char date[16];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof(date), "%Y-%m-%d", std::gmtime(&now));
  return absl::StrCat(
      "{\"date\": \"", date, "\", \"commit\": \"", options.commit, "\", \"seed\": ", options.seed,
      ", \"seconds\": ", static_cast<int64_t>(run_seconds), ", \"kills\": ", tally.kills,
      ", \"in_snapshot\": ", tally.in_snapshot, ", \"other_kills\": ", tally.other_kills,
      ", \"closes\": ", tally.closes, ", \"power_losses\": ", tally.power_losses,
      ", \"acknowledged\": ", tally.acknowledged, ", \"taken_back\": ", tally.taken_back,
      ", \"lost\": ", tally.verdict.lost, ", \"doubled\": ", tally.verdict.doubled,
      ", \"failed\": ", ::testing::Test::HasFailure() ? "true" : "false", ", \"points\": {",
      absl::StrJoin(points, ", "), "}}\n");
}

// A campaign that kills nobody finds nothing.
void CheckThatItWasTried(bool power_was_lost) {
  const bool has_points = !KillSwitch().Environment().empty();
  EXPECT_GT(tally.kills, 0);
  EXPECT_EQ(tally.in_snapshot > 0, has_points);
  EXPECT_EQ(!tally.points.empty(), has_points);
  EXPECT_EQ(tally.power_losses > 0, power_was_lost && FaultyDisk::IsPossible());
}

TEST(CrashCampaign, NothingAcknowledgedIsLostOrDoubled) {
  const auto start = steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(steady_clock::now() - start).count();
  };
  const auto goes_on = [&] {
    if (::testing::Test::HasFailure()) return false;
    return options.duration_seconds > 0
               ? elapsed() < options.duration_seconds
               : tally.kills + tally.other_kills + tally.closes < options.kills;
  };
  // Of two rounds at least, one with power losses and one without.
  const int kills_a_half =
      options.duration_seconds > 0 ? kKillsARound : std::min(kKillsARound, options.kills / 4);
  bool power_was_lost = false;
  for (uint64_t round = 0; round == 0 || goes_on(); ++round) {
    const uint64_t seed = options.seed + 1'000 * round;
    const TempFolder folder;
    const bool loses_power = (options.seed + round) % 2 == 1;
    power_was_lost |= loses_power;
    std::string hash;
    const std::vector<LoggedEvent> log =
        KillUnderLoad(folder / "all", kills_a_half, loses_power, seed, &hash);
    if (HasFailure()) break;
    KillWhileTrimming(folder / "trimmed", log, hash, kills_a_half, loses_power, seed);
  }
  if (!HasFailure()) CheckThatItWasTried(power_was_lost);
  if (!options.tally.empty()) {
    std::ofstream(options.tally, std::ios::app) << TallyLine(elapsed());
  }
}

// The last line of a run, however it went.
void PrintCounts() {
  std::printf(
      "%lld kills (%lld amid a snapshot, %lld others, %lld power losses), %lld acknowledged, %lld "
      "lost, %lld doubled, seed %llu\n",
      static_cast<long long>(tally.kills), static_cast<long long>(tally.in_snapshot),
      static_cast<long long>(tally.other_kills), static_cast<long long>(tally.power_losses),
      static_cast<long long>(tally.acknowledged), static_cast<long long>(tally.verdict.lost),
      static_cast<long long>(tally.verdict.doubled), static_cast<unsigned long long>(options.seed));
}

bool ParseArgument(absl::string_view argument) {
  if (absl::ConsumePrefix(&argument, "--kills=")) {
    return absl::SimpleAtoi(argument, &options.kills);
  }
  if (absl::ConsumePrefix(&argument, "--duration=")) {
    return absl::SimpleAtoi(argument, &options.duration_seconds);
  }
  if (absl::ConsumePrefix(&argument, "--seed=")) {
    return absl::SimpleAtoi(argument, &options.seed);
  }
  if (absl::ConsumePrefix(&argument, "--tally=")) {
    options.tally = std::string(argument);
    return true;
  }
  if (absl::ConsumePrefix(&argument, "--commit=")) {
    options.commit = std::string(argument);
    return true;
  }
  return false;
}

}  // namespace
}  // namespace factord

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (factord::ParseArgument(argv[i])) continue;
    std::fprintf(stderr, "unknown argument: %s\n", argv[i]);
    return 2;
  }
  const int result = RUN_ALL_TESTS();
  factord::PrintCounts();
  return result;
}
