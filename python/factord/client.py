"""The RPCs as plain methods, with deadlines, retries and event ids."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import random
import secrets
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import grpc
from google.protobuf.message import Message

from factord import _check, _wire_pb2
from factord._channel import Channels
from factord._token import TokenFile, check_token, goes_to_loopback
from factord.errors import (
    ClientClosed,
    DeadlineExceeded,
    FactordError,
    Unavailable,
    from_rpc_error,
    make_error,
    retry_pushback,
)
from factord.stream import RatingStream, RejectedCallback
from factord.types import (
    Prediction,
    Rating,
    RatingResult,
    Recommendation,
    check_rating,
    to_message,
)
from factord.v1 import (
    admin_service_pb2,
    model_service_pb2,
    rating_service_pb2,
    recommendation_service_pb2,
)

# How long the channel waits before it connects anew, at first and at the most. gRPC's own maximum
# of two minutes would leave a server that is back up unseen for as long.
_FIRST_RECONNECT_MS = 100
# A connection is asked whether it is alive when it was quiet for so long, and ends when it does not
# answer: otherwise calls would go on to use one whose packets are lost, and close() would wait for
# a stream to a server that hangs. The server wants to be asked no more often than every 10 s
# (--min_client_ping_interval).
_KEEPALIVE_MS = 20_000
_KEEPALIVE_TIMEOUT_MS = 10_000
_LAST_RECONNECT_MS = 1_000

# Between attempts: doubled each time, times a random factor from 0.5 to 1 that keeps clients apart
# which failed together. The last bounds how late a call notices that the server is back.
_FIRST_BACKOFF = 0.05
_LAST_BACKOFF = 0.5

_Response = TypeVar("_Response", bound=Message)

# The clients whose last wait is over, though gRPC may still watch their connection on a thread that
# dies with the interpreter: freed after that, they would wait for it for ever.
_watched: weakref.WeakSet[Client] = weakref.WeakSet()


@atexit.register
def _close_watched() -> None:
    with contextlib.suppress(KeyError):  # none is left
        while True:
            _watched.pop().close()


@dataclass(frozen=True)
class Tls:
    """PEM files of a connection over TLS.

    Read when the client is made, and again when they have changed: calls and streams that begin
    some ten seconds later use a new connection. While they are bad or do not fit each other, the
    former ones stay.
    """

    ca_file: str | None = None  # whose certificates to believe; None: the system's CAs
    cert_file: str | None = None  # with key_file: this client's certificate (mTLS)
    key_file: str | None = None
    server_name: str | None = None  # the name in the server's certificate; None: the target's

    def _files(self) -> list[str]:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file, key_file: must both be given, or none")
        return [file for file in (self.ca_file, self.cert_file, self.key_file) if file is not None]

    def _credentials(self) -> grpc.ChannelCredentials:
        key, cert = (
            None if path is None else Path(path).read_bytes()
            for path in (self.key_file, self.cert_file)
        )
        ca = _system_cas() if self.ca_file is None else Path(self.ca_file).read_bytes()
        # gRPC would say nothing, or something that nobody understands, with the first call.
        if self.ca_file is not None:
            _check_certificate(self.ca_file, "ca_file")
        if self.cert_file is not None and self.key_file is not None:
            _check_certificate(self.cert_file, "cert_file")
            _check_key(self.cert_file, self.key_file)
        return grpc.ssl_channel_credentials(ca, key, cert)


def _check_certificate(path: str, name: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError(
            f"{name}: {path} holds no good certificate in PEM (-----BEGIN CERTIFICATE-----)"
        ) from None


def _check_key(cert_file: str, key_file: str) -> None:
    def pass_phrase() -> str:
        raise ValueError  # OpenSSL would ask for it on the terminal

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert_file, key_file, pass_phrase)
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            why = f"is not the key of the first certificate in {cert_file}"
        else:
            why = "holds no private key in PEM (-----BEGIN PRIVATE KEY-----), or an encrypted one"
        raise ValueError(f"key_file: {key_file} {why}") from None


def _system_cas() -> bytes | None:
    """grpcio would bring its own. None: it has to, because this system's are not where we look."""
    paths = ssl.get_default_verify_paths()  # SSL_CERT_FILE goes first
    for file in (paths.cafile, f"{paths.capath}/ca-certificates.crt"):
        if file is not None and os.path.exists(file):
            return Path(file).read_bytes()
    return None


def _to_pair(pair: object, name: str) -> recommendation_service_pb2.UserItemPair:
    # A str of two letters would do as a pair.
    if not isinstance(pair, Sequence) or isinstance(pair, (str, bytes)) or len(pair) != 2:
        raise TypeError(f"{name}: must be a pair (user, item), not {pair!r:.100}")
    user, item = pair
    return recommendation_service_pb2.UserItemPair(
        user_id=_check.text(user, f"{name}[0]"), item_id=_check.text(item, f"{name}[1]")
    )


class _EventIds:
    """Ids that no other process gives. Thread-safe."""

    def __init__(self) -> None:
        self.process = os.getpid()
        # The system's randomness: two processes must never draw the same.
        self._prefix = secrets.token_hex(16)
        self._counter = itertools.count(1)

    def next(self) -> str:
        return f"{self._prefix}-{next(self._counter)}"


class Client:
    """A connection to a factord server. Thread-safe. Does not connect before it is used.

    Make it after a fork: gRPC promises nothing for a connection that two processes share.

    target: host:port, or one of gRPC's schemes (dns:///, ipv4:, ipv6:, unix:). No URL.
    tls: None is plain text.
    token, token_file: the bearer token (spaces and newlines behind it do not count), or the file
      whose first word it is, read anew when it changes. ValueError when it would travel in plain
      text to another machine.
    The timeouts are in seconds, of calls that name none. More than a year is a year.

    Every method takes a `timeout`, and raises a FactordError, or ValueError and TypeError for
    arguments that cannot be sent. Reads and ratings are repeated until their time is over while the
    server is away, starting, stopping or overloaded, so that a restart is no error, only a delay. A
    rating is applied once all the same, because every one without an event_id is given one first.
    To send ratings again after an error, give them ids yourself, or with stamp_event_ids().
    """

    def __init__(
        self,
        target: str = "127.0.0.1:7070",
        *,
        tls: Tls | None = None,
        token: str | None = None,
        token_file: str | None = None,
        read_timeout: float = 5.0,
        write_timeout: float = 10.0,
        # Snapshots, hashes and backups read or write the whole model.
        admin_timeout: float = 600.0,
        # 100 items for each of 256 topics have 7 MiB when their ids are long.
        max_response_bytes: int = 64 << 20,
    ) -> None:
        _check.target(target, "target")
        if tls is not None and not isinstance(tls, Tls):
            raise _check.wrong_type("tls", "a factord.Tls", tls)
        max_response_bytes = _check.positive(max_response_bytes, "max_response_bytes", bits=32)
        if token is not None and token_file is not None:
            raise ValueError("token, token_file: must not both be given")
        has_token = token is not None or token_file is not None
        if has_token and tls is None and not goes_to_loopback(target):
            name = "token_file" if token is None else "token"
            raise ValueError(
                f"{name}: would go to {target} in plain text, for all to read; set tls"
            )

        self._target = target
        self._read_timeout = _check.seconds(read_timeout, "read_timeout")
        self._write_timeout = _check.seconds(write_timeout, "write_timeout")
        self._admin_timeout = _check.seconds(admin_timeout, "admin_timeout")
        self._token: Callable[[], str] | None = None
        if token is not None:
            checked = check_token(_check.text(token, "token").rstrip(), "token")
            self._token = lambda: checked
        elif token_file is not None:
            self._token = TokenFile(token_file).token
        self._event_ids = _EventIds()
        self._closed = False

        options: list[tuple[str, Any]] = [
            ("grpc.enable_retries", 0),  # they end after five attempts; see _call
            ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", _LAST_RECONNECT_MS),
            ("grpc.max_receive_message_length", max_response_bytes),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),  # two, and gRPC would ask no more
        ]
        if goes_to_loopback(target):
            # A proxy of the environment does not find this machine, and would see a token.
            options.append(("grpc.enable_http_proxy", 0))
        if tls is not None and tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", tls.server_name))

        def make_channel() -> grpc.Channel:
            if tls is not None:
                return grpc.secure_channel(target, tls._credentials(), options)
            if not has_token:
                return grpc.insecure_channel(target, options)
            # Plain text, but for a check of the connection's own address, whatever the name
            # resolved to.
            kind = grpc.LocalConnectionType
            local = kind.UDS if target.startswith("unix") else kind.LOCAL_TCP
            return grpc.secure_channel(target, grpc.local_channel_credentials(local), options)

        self._channels = Channels(make_channel, [] if tls is None else tls._files())

    @classmethod
    def from_environment(cls) -> Client:
        """FACTORD_SERVER (127.0.0.1:7070), FACTORD_TOKEN, FACTORD_CA_FILE (TLS)."""
        ca_file = os.environ.get("FACTORD_CA_FILE")
        return cls(
            os.environ.get("FACTORD_SERVER") or "127.0.0.1:7070",
            tls=Tls(ca_file=ca_file) if ca_file else None,
            token=os.environ.get("FACTORD_TOKEN", "").rstrip() or None,
        )

    def close(self) -> None:
        """Ends everything that is under way, streams too; later calls are CANCELLED.

        Close streams before, which settles what was written to them.
        """
        self._closed = True
        self._channels.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- Ratings ---

    def rate(
        self,
        user: str,
        item: str,
        rating: float,
        *,
        event_time: datetime | None = None,
        event_id: str | None = None,
        recommendation_id: str | None = None,
        timeout: float | None = None,
    ) -> RatingResult:
        """Records a rating: when it returns, it is durable and visible, and was applied once."""
        event = Rating(user, item, rating, event_time, event_id, recommendation_id)
        return self._record(self.stamp_event_ids([event]), [""], timeout)[0]

    def take(
        self,
        user: str,
        item: str,
        event_type: str,
        *,
        event_time: datetime | None = None,
        event_id: str | None = None,
        recommendation_id: str | None = None,
        timeout: float | None = None,
    ) -> RatingResult:
        """Records that a user took an item up without rating it: a click, a purchase.

        event_type: one of those that the model was made with (--event_types). The guarantees are
        those of rate().
        """
        event = Rating(user, item, None, event_time, event_id, recommendation_id, event_type)
        return self._record(self.stamp_event_ids([event]), [""], timeout)[0]

    def rate_many(
        self, ratings: Iterable[Rating], *, timeout: float | None = None
    ) -> list[RatingResult]:
        """Records up to 10,000 ratings in their order, all or none; rating_stream() takes more."""
        stamped = self.stamp_event_ids(ratings)
        return self._record(stamped, [f"ratings[{n}]." for n in range(len(stamped))], timeout)

    def _record(
        self, ratings: list[Rating], names: list[str], timeout: float | None
    ) -> list[RatingResult]:
        events = [to_message(rating, name) for rating, name in zip(ratings, names)]
        response = self._call(
            "factord.v1.RatingService/RecordRatings",
            rating_service_pb2.RecordRatingsRequest(events=events),
            rating_service_pb2.RecordRatingsResponse,
            timeout,
            self._write_timeout,
        )
        duplicate = rating_service_pb2.RatingResult.OUTCOME_DUPLICATE
        return [
            RatingResult(sequence=result.sequence, duplicate=result.outcome == duplicate)
            for result in response.results
        ]

    def stamp_event_ids(self, ratings: Iterable[Rating]) -> list[Rating]:
        """The ratings, each with an event_id, as rate_many() gives them: to send them twice."""
        stamped = _check.elements(ratings, "ratings", "factord.Rating")
        for n, rating in enumerate(stamped):
            check_rating(rating, f"ratings[{n}]")
            # None, or empty, which the server takes for none.
            if not rating.event_id:
                stamped[n] = replace(rating, event_id=self._next_event_id())
        return stamped

    def rating_stream(
        self,
        producer_id: str,
        *,
        max_batch_events: int = 1_000,
        max_unacknowledged: int = 100_000,
        ack_timeout: float = 30.0,
        give_up_after: float = 60.0,
        initial_backoff: float = 0.05,
        max_backoff: float = 1.0,
        on_rejected: RejectedCallback | None = None,
    ) -> RatingStream:
        """Opens a stream over this connection (factord/stream.py says what the arguments mean)."""

        def connect(requests: Any, wait_for_ready: bool) -> Any:
            method = self._channels.current().stream_stream(
                "/factord.v1.RatingService/StreamRatings",
                request_serializer=rating_service_pb2.StreamRatingsRequest.SerializeToString,
                response_deserializer=rating_service_pb2.StreamRatingsResponse.FromString,
            )
            try:
                return method(requests, metadata=self._metadata(), wait_for_ready=wait_for_ready)
            except ValueError:
                if self._closed:
                    raise ClientClosed from None
                raise

        if self._closed:
            raise ClientClosed
        return RatingStream(
            connect,
            producer_id,
            max_batch_events=max_batch_events,
            max_unacknowledged=max_unacknowledged,
            ack_timeout=ack_timeout,
            give_up_after=give_up_after,
            initial_backoff=initial_backoff,
            max_backoff=max_backoff,
            on_rejected=on_rejected,
        )

    # --- Reads ---

    def recommend(
        self,
        user: str,
        max_items: int = 10,
        exclude_rated: bool = True,
        deny: Iterable[str] = (),
        strict: bool = False,
        min_sequence: int = 0,
        *,
        timeout: float | None = None,
    ) -> Recommendation:
        """The exact best items for a user, without those that it has rated and those in `deny`.

        strict: NotFound for an unknown user, instead of the most rated items.
        min_sequence: wait until this sequence is visible.
        """
        response = self._call(
            "factord.v1.RecommendationService/RecommendItems",
            recommendation_service_pb2.RecommendItemsRequest(
                user_id=_check.text(user, "user"),
                max_items=_check.integer(max_items, "max_items", bits=32),
                exclude_rated=_check.flag(exclude_rated, "exclude_rated"),
                deny_item_ids=[
                    _check.text(item, f"deny[{n}]")
                    for n, item in enumerate(_check.elements(deny, "deny", "item ids"))
                ],
                strict=_check.flag(strict, "strict"),
                min_sequence=_check.integer(min_sequence, "min_sequence"),
            ),
            recommendation_service_pb2.RecommendItemsResponse,
            timeout,
            self._read_timeout,
        )
        return Recommendation(
            items=[(item.item_id, item.score) for item in response.items],
            sequence=response.sequence,
            cold_start=response.cold_start,
            recommendation_id=response.recommendation_id,
        )

    def predict(
        self,
        pairs: Iterable[tuple[str, str]],
        strict: bool = False,
        min_sequence: int = 0,
        *,
        timeout: float | None = None,
    ) -> list[Prediction]:
        """The predicted ratings of up to 10,000 pairs (user, item), in their order."""
        response = self._call(
            "factord.v1.RecommendationService/PredictRatings",
            recommendation_service_pb2.PredictRatingsRequest(
                pairs=[
                    _to_pair(pair, f"pairs[{n}]")
                    for n, pair in enumerate(_check.elements(pairs, "pairs", "(user, item)"))
                ],
                strict=_check.flag(strict, "strict"),
                min_sequence=_check.integer(min_sequence, "min_sequence"),
            ),
            recommendation_service_pb2.PredictRatingsResponse,
            timeout,
            self._read_timeout,
        )
        return [Prediction(p.rating, p.cold_start) for p in response.predictions]

    # The rest is for operators, and answers with the messages of proto/factord/v1.

    def model(self, *, timeout: float | None = None) -> model_service_pb2.GetModelResponse:
        """Counts, configuration, sequence and prequential error."""
        return self._call(
            "factord.v1.ModelService/GetModel",
            model_service_pb2.GetModelRequest(),
            model_service_pb2.GetModelResponse,
            timeout,
            self._read_timeout,
        )

    def topics(
        self, items_per_topic: int = 10, min_ratings: int = 0, *, timeout: float | None = None
    ) -> list[model_service_pb2.Topic]:
        """The items with the largest value of each factor, without those with fewer ratings."""
        response = self._call(
            "factord.v1.ModelService/ListTopics",
            model_service_pb2.ListTopicsRequest(
                items_per_topic=_check.integer(items_per_topic, "items_per_topic", bits=32),
                min_ratings=_check.integer(min_ratings, "min_ratings"),
            ),
            model_service_pb2.ListTopicsResponse,
            timeout,
            self._read_timeout,
        )
        return list(response.topics)

    def factors(
        self,
        side: Literal["items", "users"],
        page_size: int = 1_000,
        *,
        timeout: float | None = None,
    ) -> Iterator[model_service_pb2.FactorRow]:
        """All rows, fetched page by page: items as of one sequence, users as they are then.

        timeout: of each page.
        """
        sides = {
            "items": model_service_pb2.GetFactorsRequest.SIDE_ITEMS,
            "users": model_service_pb2.GetFactorsRequest.SIDE_USERS,
        }
        if side not in ("items", "users"):
            raise ValueError(f"side: must be 'items' or 'users', not {side!r}")
        request = model_service_pb2.GetFactorsRequest(
            side=sides[side], page_size=_check.integer(page_size, "page_size", bits=32)
        )
        # What is wrong with an argument is to be said here, not when the first row is asked for.
        if timeout is not None:
            timeout = _check.seconds(timeout, "timeout")
        return self._pages(request, timeout)

    def _pages(
        self, request: model_service_pb2.GetFactorsRequest, timeout: float | None
    ) -> Iterator[model_service_pb2.FactorRow]:
        while True:
            page = self._call(
                "factord.v1.ModelService/GetFactors",
                request,
                model_service_pb2.GetFactorsResponse,
                timeout,
                self._read_timeout,
            )
            yield from page.rows
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
            request.view_token = page.view_token

    # --- Operations ---

    def snapshot(self, *, timeout: float | None = None) -> admin_service_pb2.CreateSnapshotResponse:
        """Writes a snapshot now. Not repeated."""
        return self._call(
            "factord.v1.AdminService/CreateSnapshot",
            admin_service_pb2.CreateSnapshotRequest(),
            admin_service_pb2.CreateSnapshotResponse,
            timeout,
            self._admin_timeout,
            repeat=False,
        )

    def compute_hash(
        self, *, timeout: float | None = None
    ) -> admin_service_pb2.ComputeHashResponse:
        """The hash of the whole state: two models are equal if and only if their hashes are."""
        return self._call(
            "factord.v1.AdminService/ComputeHash",
            admin_service_pb2.ComputeHashRequest(),
            admin_service_pb2.ComputeHashResponse,
            timeout,
            self._admin_timeout,
        )

    def backup(
        self, name: str, *, timeout: float | None = None
    ) -> admin_service_pb2.BackupResponse:
        """Copies the data folder below the server's --backup_dir. Not repeated."""
        return self._call(
            "factord.v1.AdminService/Backup",
            admin_service_pb2.BackupRequest(name=_check.text(name, "name")),
            admin_service_pb2.BackupResponse,
            timeout,
            self._admin_timeout,
            repeat=False,
        )

    def start_passes(self, passes: int, *, timeout: float | None = None) -> None:
        """Begins to learn all ratings again, 1 to 100 times, in the background. Not repeated."""
        self._call(
            "factord.v1.AdminService/StartPasses",
            admin_service_pb2.StartPassesRequest(passes=_check.integer(passes, "passes", bits=32)),
            admin_service_pb2.StartPassesResponse,
            timeout,
            self._write_timeout,
            repeat=False,
        )

    def passes(self, *, timeout: float | None = None) -> admin_service_pb2.PassesProgress:
        """How far the passes of the last start_passes() have come."""
        return self._call(
            "factord.v1.AdminService/GetPasses",
            admin_service_pb2.GetPassesRequest(),
            admin_service_pb2.GetPassesResponse,
            timeout,
            self._read_timeout,
        ).progress

    def stop_passes(self, *, timeout: float | None = None) -> admin_service_pb2.PassesProgress:
        """Ends the passes that are under way; what they have learned stays."""
        return self._call(
            "factord.v1.AdminService/StopPasses",
            admin_service_pb2.StopPassesRequest(),
            admin_service_pb2.StopPassesResponse,
            timeout,
            self._admin_timeout,
        ).progress

    def health(self, service: str = "", *, timeout: float | None = None) -> bool:
        """Whether a service is serving. NotFound for an unknown name. Not repeated.

        "" for reads, "factord.v1.RatingService" for writes, "liveness" for the process.
        """
        response = self._call(
            "grpc.health.v1.Health/Check",
            _wire_pb2.HealthCheckRequest(service=_check.text(service, "service")),
            _wire_pb2.HealthCheckResponse,
            timeout,
            self._read_timeout,
            repeat=False,
        )
        return response.status == _wire_pb2.HealthCheckResponse.SERVING

    def _call(
        self,
        method: str,
        request: Message,
        response_type: type[_Response],
        timeout: float | None,
        default_timeout: float,
        repeat: bool = True,
    ) -> _Response:
        timeout = default_timeout if timeout is None else _check.seconds(timeout, "timeout")
        deadline = time.monotonic() + timeout
        backoff = _FIRST_BACKOFF
        error: FactordError | None = None
        attempts = 0
        while True:
            attempts += 1
            call = self._channels.current().unary_unary(
                f"/{method}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=response_type.FromString,
            )
            try:
                # Not with wait_for_ready, which would tell neither why there is no connection nor
                # whether the call was sent.
                response: _Response = call(
                    request,
                    timeout=max(0.0, deadline - time.monotonic()),
                    metadata=self._metadata(),
                )
                return response
            except ValueError:
                if not self._closed:
                    raise
                raise ClientClosed(error is not None and error.outcome_unknown) from None
            except grpc.RpcError as rpc_error:
                before, error = error, from_rpc_error(rpc_error)
                pushback = retry_pushback(rpc_error)
            if before is not None and before.outcome_unknown:
                error.outcome_unknown = True
            if error.code == grpc.StatusCode.CANCELLED and self._closed:
                raise ClientClosed(outcome_unknown=True)
            if isinstance(error, DeadlineExceeded) and isinstance(before, Unavailable):
                unavailable = make_error(before.code, before.message)
                unavailable.message += (
                    f"; gave up after {attempts} attempts in {timeout:g} s, the last one without "
                    "an answer"
                )
                raise unavailable
            if isinstance(error, DeadlineExceeded):
                error.message = f"no answer from {self._target} within {timeout:g} s"
                if before is not None:
                    error.message += f", in {attempts} attempts; the error before: {before}"
                raise error
            delay = pushback + backoff * random.uniform(0.5, 1.0)
            if not repeat or pushback < 0:
                raise error
            if time.monotonic() + delay >= deadline:
                error.message += f"; gave up after {attempts} attempts in {timeout:g} s"
                raise error
            self._wait_to_repeat(delay)
            backoff = min(2 * backoff, _LAST_BACKOFF)

    def _wait_to_repeat(self, delay: float) -> None:
        """Waits, or until a lost connection is there again."""
        lost, connected = threading.Event(), threading.Event()

        def look(state: grpc.ChannelConnectivity) -> None:
            if state != grpc.ChannelConnectivity.READY:
                lost.set()
            elif lost.is_set():
                connected.set()

        # Not by sleeping: while nobody watches them, gRPC looks after its connections every five
        # seconds only. It is the attempts that make it connect, because try_to_connect outlives the
        # subscription, and would fail on a thread of gRPC if the client is closed just then.
        if self._closed:
            return
        channel = self._channels.current()
        _watched.discard(self)
        channel.subscribe(look)
        try:
            connected.wait(delay)
        finally:
            channel.unsubscribe(look)
            _watched.add(self)

    def _next_event_id(self) -> str:
        ids = self._event_ids
        if ids.process != os.getpid():
            # A fork copied them, and the other process gives the same to other ratings. Threads
            # that find this out at once draw more than they need, which does no harm.
            ids = self._event_ids = _EventIds()
        return ids.next()

    def _metadata(self) -> list[tuple[str, str]]:
        return [] if self._token is None else [("authorization", f"Bearer {self._token()}")]
