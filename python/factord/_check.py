"""Checks of arguments, whose errors name the argument: protobuf's and gRPC's own do not."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable
from typing import Any, TypeVar

_T = TypeVar("_T")

# In seconds: a year, which is for ever. Much more would overflow in gRPC or in the system's clocks.
_LONGEST_TIME = 365 * 86_400.0


def wrong_type(name: str, needed: str, value: object) -> TypeError:
    return TypeError(f"{name}: must be {needed}, not {type(value).__name__}")


def text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(name, "a str", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: holds half a surrogate pair, which UTF-8 cannot say") from None
    return value


def optional_text(value: object, name: str) -> str:
    return "" if value is None else text(value, name)


def number(value: Any, name: str) -> float:
    """Whatever is one, numpy's and decimal's too; text is none."""
    if not isinstance(value, (str, bytes, bytearray)):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
        except (TypeError, ValueError):
            pass
    raise wrong_type(name, "a number", value)


def seconds(value: Any, name: str) -> float:
    result = number(value, name)
    if not 0 < result < math.inf:
        raise ValueError(f"{name}: must be above 0 and finite")
    return min(result, _LONGEST_TIME)


def integer(value: Any, name: str, bits: int = 64) -> int:
    try:
        result = operator.index(value)
    except TypeError:
        raise wrong_type(name, "an integer", value) from None
    limit = 1 << (bits - 1)
    if not -limit <= result < limit:
        raise ValueError(f"{name}: {result} does not fit into {bits} bits")
    return result


def positive(value: Any, name: str, bits: int = 64) -> int:
    result = integer(value, name, bits)
    if result < 1:
        raise ValueError(f"{name}: must be at least 1")
    return result


def flag(value: Any, name: str) -> bool:
    # numpy.bool_ is neither.
    if isinstance(value, int) or type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise wrong_type(name, "a bool", value)


def target(value: object, name: str) -> str:
    """HOST:PORT, or one of gRPC's own schemes, which gRPC looks into itself."""
    result = text(value, name)
    if re.match("(dns|ipv[46]|unix|unix-abstract|vsock|xds):", result):
        return result
    # An IPv6 address without brackets would swallow its port.
    host_and_port = re.fullmatch(r"(?:[^\s:/\[\]]+|\[[^\s/\[\]]+\]):(\d{1,5})", result, re.ASCII)
    if not host_and_port or not 1 <= int(host_and_port[1]) <= 65535:
        raise ValueError(f"{name}: must be HOST:PORT, not {result!r:.300}")
    return result


def elements(value: Iterable[_T], name: str, of: str) -> list[_T]:
    """Text is an iterable, too, but of letters, which nobody means."""
    if isinstance(value, (str, bytes, bytearray)):
        raise wrong_type(name, f"an iterable of {of}", value)
    try:
        return list(value)
    except TypeError:
        if hasattr(type(value), "__iter__"):
            raise  # by the iterable itself
        raise wrong_type(name, f"an iterable of {of}", value) from None
