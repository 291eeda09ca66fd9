"""Which calls are repeated, after what, and how soon: the service config of all factord clients.

gRPC's own retries are turned off: they stop after five attempts, some second, and hide why the last
one failed. Client repeats until the deadline, which makes maxAttempts, waitForReady and
retryThrottling meaningless here. client/service_config.h says why the rest is as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import grpc

SERVICE_CONFIG = """{
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
}"""


@dataclass(frozen=True)
class RetryPolicy:
    initial_backoff: float  # seconds
    max_backoff: float
    backoff_multiplier: float
    codes: frozenset[grpc.StatusCode]


def _parse() -> dict[str, RetryPolicy]:
    policies = {}
    for config in json.loads(SERVICE_CONFIG)["methodConfig"]:
        retry = config["retryPolicy"]
        policy = RetryPolicy(
            initial_backoff=float(retry["initialBackoff"].rstrip("s")),
            max_backoff=float(retry["maxBackoff"].rstrip("s")),
            backoff_multiplier=retry["backoffMultiplier"],
            codes=frozenset(grpc.StatusCode[code] for code in retry["retryableStatusCodes"]),
        )
        for name in config["name"]:
            policies[f"{name['service']}/{name.get('method', '')}"] = policy
    return policies


_POLICIES = _parse()


def retry_policy(method: str) -> RetryPolicy | None:
    """Of package.Service/Method. None: it is not to be repeated."""
    return _POLICIES.get(method) or _POLICIES.get(method.split("/")[0] + "/")
