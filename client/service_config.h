// Which calls gRPC itself repeats, and how: the service config of every channel of the client.
// Other clients, in any language, may be given the same JSON.
#pragma once

namespace factord {

// RecordRatings and all reads: UNAVAILABLE (starting, draining, connection lost) and
// RESOURCE_EXHAUSTED (overload; the server says how long to wait) are tried again, five attempts in
// all, each after a random time below 0.1, 0.2, 0.4, 0.8 s. RecordRatings is safe to repeat because
// Client gives every event an id. Reads wait for a connection until their deadline; writes fail at
// once without one, so that the caller can decide to keep them.
//
// StreamRatings is not listed: gRPC could only repeat a stream from its beginning. RatingStream
// resumes it. CreateSnapshot and Backup are not listed either: a repeated Backup would answer
// ALREADY_EXISTS, and their RESOURCE_EXHAUSTED is a full disk.
//
// retryThrottling stops repeating when more than half of some hundred calls fail: a server that is
// down does not get five times its load.
inline constexpr char kServiceConfigJson[] = R"json({
  "methodConfig": [
    {
      "name": [
        { "service": "factord.v1.RecommendationService" },
        { "service": "factord.v1.ModelService" },
        { "service": "factord.v1.AdminService", "method": "ComputeHash" }
      ],
      "waitForReady": true,
      "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
      }
    },
    {
      "name": [
        { "service": "factord.v1.RatingService", "method": "RecordRatings" }
      ],
      "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
      }
    }
  ],
  "retryThrottling": { "maxTokens": 100, "tokenRatio": 0.1 }
})json";

}  // namespace factord
