"""What programs hand to the client and get from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from factord import _check
from factord.v1 import rating_pb2


@dataclass(frozen=True)
class Rating:
    """One user's rating of one item; or, with event_type, a click, a purchase or the like."""

    user: str  # 1 to 256 bytes of UTF-8, as is `item`
    item: str
    rating: float | None = None  # None: with event_type
    # When it was given, to the microsecond; with a time zone. None: when the server gets it.
    event_time: datetime | None = None
    # Makes the event idempotent: 1 to 64 bytes. None: Client gives it one, RatingStream needs none.
    event_id: str | None = None
    # Of the recommendation that led to this rating. Kept in the log.
    recommendation_id: str | None = None
    # One of the model's event types (--event_types); None: a rating.
    event_type: str | None = None


@dataclass(frozen=True)
class RatingResult:
    """What became of a rating that was acknowledged."""

    sequence: int  # of the event; of the original, if it is a duplicate
    duplicate: bool  # True: it had been applied before, and was not applied again


@dataclass(frozen=True)
class Recommendation:
    """The best items for a user."""

    items: list[tuple[str, float]]  # (item, score), best first
    sequence: int  # of the view that was scored
    cold_start: bool  # True: the user is unknown, and these are the most rated items
    recommendation_id: str  # ratings may carry it back


@dataclass(frozen=True)
class Prediction:
    """A predicted rating."""

    rating: float  # within the model's range
    cold_start: bool  # True: the user or the item is unknown, and this is a fallback


def to_message(rating: Rating, prefix: str = "") -> rating_pb2.Rating:
    """ValueError or TypeError for what cannot be sent at all; the server checks the rest.

    prefix: what stands before the name of a field in those errors.
    """
    message = rating_pb2.Rating(
        user_id=_check.text(rating.user, f"{prefix}user"),
        item_id=_check.text(rating.item, f"{prefix}item"),
        event_type=_check.optional_text(rating.event_type, f"{prefix}event_type"),
        event_id=_check.optional_text(rating.event_id, f"{prefix}event_id"),
        recommendation_id=_check.optional_text(
            rating.recommendation_id, f"{prefix}recommendation_id"
        ),
    )
    # Without event_type a rating must be there, which is said here in Python's own words.
    if rating.rating is not None or not rating.event_type:
        message.rating = _check.number(rating.rating, f"{prefix}rating")
    time = rating.event_time
    if time is not None:
        if not isinstance(time, datetime):
            raise _check.wrong_type(f"{prefix}event_time", "a datetime", time)
        # A time without a zone would be taken for UTC, whatever was meant.
        if time.tzinfo is None:
            raise ValueError(f"{prefix}event_time: must have a time zone")
        message.event_time.FromDatetime(time)
    return message


def check_rating(rating: object, name: str) -> None:
    if not isinstance(rating, Rating):
        raise _check.wrong_type(name, "a factord.Rating", rating)
