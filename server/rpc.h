// The RPCs of factord.v1 and what is none, and what every call of one has in common.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace factord {

// What a client may be allowed to do; a bit each.
enum Scope : uint8_t {
  kScopeRead = 1,
  kScopeWrite = 2,
  kScopeAdmin = 4,
};

enum class Rpc : uint8_t {
  kRecordRatings,
  kStreamRatings,
  kRecommendItems,
  kPredictRatings,
  kGetModel,
  kListTopics,
  kGetFactors,
  kCreateSnapshot,
  kComputeHash,
  kBackup,
  kStartPasses,
  kGetPasses,
  kStopPasses,
  kUnknown,  // none of them
};
inline constexpr size_t kRpcs = 14;

struct RpcInfo {
  const char* service;
  const char* method;
  Scope scope;
  // Calls at once, in the whole server; 0: no limit of its own. Reads of many rows have answers of
  // megabytes, and operations run one at a time.
  int32_t max_calls;
  // A call that takes longer than --max_call_time is cancelled.
  bool is_timed;
  // One of those that come in masses, of which a part may be refused under overload.
  bool may_be_shed = false;
};

inline constexpr std::array<RpcInfo, kRpcs> kRpcInfos = {{
    {"factord.v1.RatingService", "RecordRatings", kScopeWrite, 0, true, true},
    {"factord.v1.RatingService", "StreamRatings", kScopeWrite, 0, false},
    {"factord.v1.RecommendationService", "RecommendItems", kScopeRead, 0, true, true},
    {"factord.v1.RecommendationService", "PredictRatings", kScopeRead, 0, true, true},
    {"factord.v1.ModelService", "GetModel", kScopeRead, 0, true},
    {"factord.v1.ModelService", "ListTopics", kScopeRead, 16, true},
    {"factord.v1.ModelService", "GetFactors", kScopeRead, 16, true},
    {"factord.v1.AdminService", "CreateSnapshot", kScopeAdmin, 16, false},
    {"factord.v1.AdminService", "ComputeHash", kScopeAdmin, 16, false},
    {"factord.v1.AdminService", "Backup", kScopeAdmin, 16, false},
    {"factord.v1.AdminService", "StartPasses", kScopeAdmin, 16, true},
    {"factord.v1.AdminService", "GetPasses", kScopeAdmin, 16, true},
    {"factord.v1.AdminService", "StopPasses", kScopeAdmin, 16, false},
    {"unknown", "unknown", kScopeRead, 0, true},
}};

inline const RpcInfo& InfoOf(Rpc rpc) { return kRpcInfos[static_cast<size_t>(rpc)]; }

}  // namespace factord
