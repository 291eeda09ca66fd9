"""Client of factord, an online recommendation service. docs/python.md is the guide.

    import factord

    with factord.Client("127.0.0.1:7070") as client:
        client.rate("ann", "casablanca", 4.5)       # durable and visible from here on
        for item, score in client.recommend("ann").items:
            print(item, score)
"""

from factord.client import Client, Tls
from factord.errors import (
    DeadlineExceeded,
    FactordError,
    InvalidArgument,
    NotFound,
    Unavailable,
    Violation,
)
from factord.stream import RatingStream, StreamStats
from factord.types import Prediction, Rating, RatingResult, Recommendation

__all__ = [
    "Client",
    "DeadlineExceeded",
    "FactordError",
    "InvalidArgument",
    "NotFound",
    "Prediction",
    "Rating",
    "RatingResult",
    "RatingStream",
    "Recommendation",
    "StreamStats",
    "Tls",
    "Unavailable",
    "Violation",
]
