"""The errors of calls and streams.

ValueError and TypeError are for arguments that cannot be sent; everything else is a FactordError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import grpc

from factord import _wire_pb2

_UNKNOWN_OUTCOME = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)


# How the messages of gRPC begin when a call found no connection. Other versions may say it in other
# words: then the call counts as sent.
_NEVER_SENT = (
    "failed to connect to all addresses",
    "DNS resolution failed",
    "empty address list",
)

# gRPC says how a connection failed, which is not what to do about it. As in client/status.cc.
_ADVICE = (
    (
        r"is not in peer certificate|Hostname Verification Check failed",
        "the server's certificate is for another name: connect to a name that it holds, or give "
        "that name as Tls(server_name=...)",
    ),
    (
        r"certificate verify failed",
        "the server's certificate has expired or does not come from a CA in Tls(ca_file=...) "
        "(without that, the system's)",
    ),
    (r"wrong version number", "the server does not speak TLS on this port"),
    (
        r"Failed to create security handshaker|empty address list",
        "the files of Tls are bad, or the target has no address",
    ),
    (
        r"failed to connect.*Socket closed",
        "the server hung up: if it goes on, it may want TLS, or a client certificate "
        "(Tls(cert_file=..., key_file=...)) that it knows",
    ),
)


_UNKNOWN_TOKEN_ADVICE = (
    "; it is not in the server's --token_file (`factorctl token` makes a token and its line), or "
    "the server has not read that file again yet (--reload_interval)"
)


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong with a request."""

    field: str  # as in proto/: "events[3].rating"
    description: str


class FactordError(Exception):
    """What the server answered, or why there is no answer."""

    def __init__(
        self, code: grpc.StatusCode, message: str, violations: tuple[Violation, ...] = ()
    ) -> None:
        super().__init__(code, message, violations)
        self.code = code
        self.message = message
        self.violations = violations  # of InvalidArgument
        # Of a write: True when it may have been applied, by this attempt or one before. Send it
        # again with the same event ids. False: nothing was written. When in doubt it is True: gRPC
        # does not always tell whether a call was sent before its time was over.
        self.outcome_unknown = code in _UNKNOWN_OUTCOME

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


class InvalidArgument(FactordError):
    """A rule is broken. `violations` names every bad field of a call, `message` that of a stream."""


class NotFound(FactordError):
    """With `strict`: an unknown user or item."""


class Unavailable(FactordError):
    """No server, or it starts, drains, or cannot write."""


class DeadlineExceeded(FactordError):
    """No answer in time."""


class ClientClosed(FactordError):
    """The CANCELLED of Client.close(). A class of its own for RatingStream, which must not retry."""

    def __init__(self, outcome_unknown: bool = False) -> None:
        super().__init__(grpc.StatusCode.CANCELLED, "the client was closed")
        self.outcome_unknown = outcome_unknown


_CLASSES = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


def make_error(
    code: grpc.StatusCode, message: str, violations: tuple[Violation, ...] = ()
) -> FactordError:
    return _CLASSES.get(code, FactordError)(code, message, violations)


def from_rpc_error(error: grpc.RpcError) -> FactordError:
    violations: list[Violation] = []
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            violations = _parse_violations(value)
    code, message = error.code(), error.details() or ""
    if code == grpc.StatusCode.UNAUTHENTICATED and message == "unknown token":
        message += _UNKNOWN_TOKEN_ADVICE
    if code != grpc.StatusCode.UNAVAILABLE:
        return make_error(code, message, tuple(violations))
    result = make_error(code, message + _advice(message))
    result.outcome_unknown = not message.startswith(_NEVER_SENT)
    return result


def _advice(message: str) -> str:
    for pattern, advice in _ADVICE:
        if re.search(pattern, message, re.DOTALL):
            return f"; {advice}"
    return ""


def retry_pushback(error: grpc.RpcError) -> float:
    """After how many seconds to send a call again that is safe to repeat. Negative: never.

    UNAVAILABLE: the server is starting, stopping or away. RESOURCE_EXHAUSTED where the server says
    how long to wait; without that it is no matter of load, but a message that is too large, say.
    Every other error would only come back.
    """
    asked = dict(error.trailing_metadata() or ()).get("grpc-retry-pushback-ms")
    if error.code() == grpc.StatusCode.UNAVAILABLE and asked is None:
        return 0.0
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
        # As gRPC has it: what is no number forbids to try again.
        return int(asked) / 1000 if asked is not None and asked.isdecimal() else -1.0
    return -1.0


def _parse_violations(details: bytes) -> list[Violation]:
    violations = []
    for detail in _wire_pb2.Status.FromString(details).details:
        if detail.type_url.endswith("/google.rpc.BadRequest"):
            for violation in _wire_pb2.BadRequest.FromString(detail.value).field_violations:
                violations.append(Violation(violation.field, violation.description))
    return violations
