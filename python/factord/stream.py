"""Writes many ratings, each exactly once, through broken connections and restarts of either side.

    with client.rating_stream("import-2024") as stream:
        for number, rating in enumerate(read_ratings(), 1):
            stream.write(rating, number)    # blocks while the window is full
    # Everything is durable and visible.

Numbers make it exact. Each rating has one, and they increase; the server remembers, with the rating
itself, the last number that it took from a producer, and passes over what it has. After a reconnect
the stream sends again what was on its way. A program that starts over with the same producer id and
the same numbers (the position in its input) does the same with its whole input: what the server has
is skipped. So a producer id must stand for one input; it is remembered for as long as the model
lives.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from types import TracebackType
from typing import Any

import grpc

from factord import _check
from factord.errors import ClientClosed, FactordError, Unavailable, from_rpc_error, make_error
from factord.types import Rating, check_rating, to_message
from factord.v1 import rating_pb2, rating_service_pb2

RejectedCallback = Callable[[int, Rating, FactordError], None]

# The connection may work again, or another one will. Everything else would only fail again.
_WORTH_A_RECONNECT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
)

_ERROR_CODES = {code.value[0]: code for code in grpc.StatusCode if code != grpc.StatusCode.OK}

_LAST_NUMBER = 2**63 - 2  # that the server takes


@dataclass
class StreamStats:
    """Counts of ratings handed to write().

    acknowledged = applied + duplicates + rejected + recovered + resumed.
    """

    written: int = 0  # taken by write()
    acknowledged: int = 0  # settled: durable, or rejected
    applied: int = 0
    duplicates: int = 0  # their event_id was known: not applied again
    rejected: int = 0
    # Sent again after a reconnect, and found to be there: their acknowledgement was lost.
    recovered: int = 0
    # The server had them from an earlier stream of the producer: not sent.
    resumed: int = 0
    last_acknowledged_number: int = 0
    last_sequence: int = 0  # of the model, after the last rating applied for this stream
    reconnects: int = 0  # connections after the first


@dataclass(frozen=True)
class _Pending:
    number: int
    rating: Rating
    message: rating_pb2.Rating


class _CallbackError(Exception):
    """Its cause is what on_rejected raised, which may look like an error of the connection."""


class _Connection:
    def __init__(self) -> None:
        self.call: Any = None  # None until gRPC has begun it
        self.started = False  # the handshake was made
        self.timed_out = False  # so it was cancelled

    def cancel(self) -> None:
        if self.call is not None:
            self.call.cancel()


class RatingStream:
    """Made by Client.rating_stream(). Thread-safe, but for write(): one thread at a time.

    At most max_unacknowledged ratings, or what the server advertises if that is less, are on their
    way at once; they are kept here until they are acknowledged, and write() blocks while there are
    that many. A broken connection (UNAVAILABLE, RESOURCE_EXHAUSTED, CANCELLED), and one on which
    nothing is acknowledged for ack_timeout seconds, is made anew, with exponential backoff and
    jitter, until nothing has gone forward for give_up_after seconds. Every other error is final:
    ABORTED when a newer stream of the same producer took over, INVALID_ARGUMENT when the protocol
    is broken. After a final error every call raises it.

    DATA_LOSS: on a reconnect the server knew less of this producer than it had acknowledged before;
    it runs on another or an older data folder. Nothing is sent to it.

    on_rejected(number, rating, error) is called for each rating that the server rejects, in order
    of number, on a thread of the stream, before the rating counts as acknowledged. error.code is
    INVALID_ARGUMENT (out of range, say), ALREADY_EXISTS (its event_id is that of another rating) or
    RESOURCE_EXHAUSTED (a limit of the server; once that is raised, send it under a new number). The
    callback must not block for long or call the stream; what it raises ends the stream.
    Without it a rejected rating shows in stats() alone. However often the connection breaks, each
    is reported once: what is sent again is rejected again. But one that is rejected for something
    that lies not in itself (the latter two codes) is then taken for `recovered`, if a later one was
    applied.

    As a context manager it closes at the end, and cancels after an exception.

    It belongs to the process that opened it, because a fork copies no threads: in another one every
    method is a RuntimeError, but for cancel(), which does nothing.
    """

    def __init__(
        self,
        connect: Callable[[Iterator[rating_service_pb2.StreamRatingsRequest], bool], Any],
        producer_id: str,
        *,
        max_batch_events: int,
        max_unacknowledged: int,
        ack_timeout: float,
        give_up_after: float,
        initial_backoff: float,
        max_backoff: float,
        on_rejected: RejectedCallback | None,
    ) -> None:
        # Without one, what was on its way when a connection broke could be applied twice.
        if not _check.text(producer_id, "producer_id"):
            raise ValueError("producer_id: must not be empty")
        if on_rejected is not None and not callable(on_rejected):
            raise _check.wrong_type("on_rejected", "callable", on_rejected)
        max_batch_events = _check.positive(max_batch_events, "max_batch_events")
        max_unacknowledged = _check.positive(max_unacknowledged, "max_unacknowledged")
        ack_timeout = _check.seconds(ack_timeout, "ack_timeout")
        give_up_after = _check.number(give_up_after, "give_up_after")
        if not give_up_after >= 0:
            raise ValueError("give_up_after: must not be negative")
        initial_backoff = _check.seconds(initial_backoff, "initial_backoff")
        max_backoff = _check.seconds(max_backoff, "max_backoff")
        if initial_backoff > max_backoff:
            raise ValueError("initial_backoff: must be at most max_backoff")
        self._connect = connect
        self._producer_id = producer_id
        self._max_batch_events = max_batch_events
        self._max_unacknowledged = max_unacknowledged
        self._ack_timeout = ack_timeout
        self._give_up_after = give_up_after
        self._initial_backoff = initial_backoff
        self._max_backoff = max_backoff
        self._on_rejected = on_rejected

        self._process = os.getpid()
        # Guards, and tells of changes in, everything below.
        self._changed = threading.Condition()
        # What is written and not settled, by number: what is on its way, then the rest.
        self._sent: deque[_Pending] = deque()
        self._unsent: deque[_Pending] = deque()
        self._last_written = 0
        self._stats = StreamStats()
        # The largest number that the server is known to remember. Not that of a rejected rating.
        self._durable_number = 0
        # Up to here pending ratings were on their way when a connection broke, and the server
        # either has them or has rejected them.
        self._resent_through = 0
        self._connection: _Connection | None = None
        self._window = 0  # 0 until the first handshake
        self._last_progress = 0.0  # the last sign of life that counts for ack_timeout
        # The first failure since something went forward, for give_up_after, and the last one.
        self._trouble_since: float | None = None
        self._last_error: FactordError | None = None
        self._backoff = 0.0
        self._closing = False
        self._cancelled = False
        self._finished = False  # the thread has nothing left to do
        self._final_error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"factord-{producer_id}", daemon=True
        )
        self._thread.start()

    # --- The caller's side ---

    def write(self, rating: Rating, number: int | None = None) -> None:
        """Takes a rating over; blocks while the window is full, and until the server answered once.

        number: at least 1, larger than the one before and less than 2**63 - 1: otherwise ValueError
          (TypeError if it is no integer), and the stream goes on. None: one above the one before;
          at first one above the last that the server has of this producer.
        """
        self._check_process()
        check_rating(rating, "rating")
        message = to_message(rating, "rating.")
        if number is not None:
            number = _check.integer(number, "number")  # raises here, not on gRPC's thread
        with self._changed:
            if number is None:
                # Only the server knows where this producer stopped.
                while self._window == 0 and not self._finished:
                    self._wait_for_change()
                number = max(self._last_written, self._stats.last_acknowledged_number) + 1
            elif number < 1 or number <= self._last_written:
                raise ValueError(
                    f"number {number} must be at least 1 and larger than the one before, "
                    f"{self._last_written}"
                )
            elif number > _LAST_NUMBER:
                raise ValueError(f"number {number} must be less than 2**63 - 1")
            while len(self._sent) + len(self._unsent) >= self._capacity() and not self._finished:
                self._wait_for_change()
            self._raise_final_error()
            if self._closing or self._cancelled:
                raise ValueError("the stream is closed")
            self._last_written = number
            self._stats.written += 1
            if number <= self._stats.last_acknowledged_number:
                self._stats.resumed += 1
                self._stats.acknowledged += 1
                return
            self._unsent.append(_Pending(number, rating, message))
            self._changed.notify_all()

    def flush(self) -> None:
        """Returns when everything written before is acknowledged, or raises the final error."""
        self._check_process()
        with self._changed:
            target = self._last_written
            while not self._finished and self._first_pending() <= target:
                self._wait_for_change()
            self._raise_unless_settled_through(target)

    def close(self) -> None:
        """Flushes and ends the stream. When it returns, everything written is settled."""
        self._check_process()
        with self._changed:
            self._closing = True
            self._last_progress = time.monotonic()  # from now on an answer is due
            self._changed.notify_all()
            while not self._finished:
                self._wait_for_change()
            self._raise_unless_settled_through(self._last_written)

    def cancel(self) -> None:
        """Ends the stream at once. Ratings that are not acknowledged may or may not be applied."""
        if self._process != os.getpid():
            return  # after an error in a `with` block; the stream of the parent goes on
        with self._changed:
            self._cancelled = True
            if self._connection is not None:
                self._connection.cancel()
            self._changed.notify_all()
        self._thread.join()

    def stats(self) -> StreamStats:
        self._check_process()
        with self._changed:
            return replace(self._stats)

    def __enter__(self) -> RatingStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and not self._cancelled:
            self.close()
        else:
            self.cancel()

    def _check_process(self) -> None:
        # Before the lock is taken, which may have been held when the process was forked.
        if self._process != os.getpid():
            raise RuntimeError(
                f"this stream was opened by process {self._process}, and process {os.getpid()} has "
                "no part in it: make a client and a stream after the fork"
            )

    # The methods from here to the next line hold the lock.

    def _capacity(self) -> int:
        # 0 until the first handshake: until then nothing says how much the server wants.
        return min(self._max_unacknowledged, self._window)

    def _first_pending(self) -> float:
        for queue in (self._sent, self._unsent):
            if queue:
                return queue[0].number
        return float("inf")

    def _raise_final_error(self) -> None:
        if self._final_error is not None:
            # A new traceback each time: the same exception would collect them.
            raise self._final_error.with_traceback(None)

    def _raise_unless_settled_through(self, number: int) -> None:
        self._raise_final_error()
        if self._first_pending() <= number:
            raise ValueError("the stream is closed")  # by cancel()

    def _has_nothing_left_to_do(self) -> bool:
        return self._cancelled or (self._closing and not self._sent and not self._unsent)

    def _wait_for_change(self) -> None:
        """Waits a while at the most, and ends a connection on which nothing moves.

        Whoever waits also watches: the threads of the stream may be blocked within gRPC.
        """
        connection = self._connection
        now = time.monotonic()
        check = now + self._ack_timeout
        if connection is not None and (not connection.started or self._sent or self._closing):
            check = self._last_progress + self._ack_timeout
            if not connection.started and self._trouble_since is not None:
                check = min(check, self._trouble_since + self._give_up_after)
            if not connection.started and self._has_nothing_left_to_do():
                check = now
            if now >= check:
                connection.timed_out = not self._has_nothing_left_to_do()
                connection.cancel()
                check = now + 0.01  # until the cancellation arrives
        self._changed.wait(check - now)

    def _settle_through(self, number: int) -> None:
        """Forgets everything sent up to `number`."""
        while self._sent and self._sent[0].number <= number:
            self._sent.popleft()
            self._stats.acknowledged += 1
            self._trouble_since = None
            self._backoff = 0.0
        self._stats.last_acknowledged_number = max(self._stats.last_acknowledged_number, number)

    # --- The stream's thread ---

    def _run(self) -> None:
        final_error: BaseException | None = None
        try:
            # The first attempt tells why there is no connection. The others wait for one: while no
            # call waits, gRPC looks after its connections every five seconds only.
            connection = _Connection()
            error = self._serve(connection, wait_for_ready=False)
            while self._prepare_reconnect(error):
                was_started, connection = connection.started, _Connection()
                error = self._serve(connection, wait_for_ready=not was_started)
        except _CallbackError as error:
            final_error = error.__cause__
        except BaseException as error:  # nobody else would hear of it
            final_error = error
        with self._changed:
            self._final_error = final_error
            self._finished = True
            self._changed.notify_all()

    def _prepare_reconnect(self, error: FactordError) -> bool:
        """After a connection that ended with `error`; True: try again. Waits for the backoff."""
        with self._changed:
            if self._has_nothing_left_to_do():
                return False
            if error.code not in _WORTH_A_RECONNECT:
                raise error
            if isinstance(error, ClientClosed):
                error.outcome_unknown = bool(self._sent or self._unsent)
                raise error
            now = time.monotonic()
            if self._trouble_since is None:
                self._trouble_since = now
                self._last_error = error
            elif error.code != grpc.StatusCode.CANCELLED:  # by us, which tells nothing
                self._last_error = error
            self._backoff = min(max(2 * self._backoff, self._initial_backoff), self._max_backoff)
            until = now + self._backoff * random.uniform(0.5, 1.0)
            if until - self._trouble_since > self._give_up_after:
                raise Unavailable(
                    grpc.StatusCode.UNAVAILABLE,
                    f"gave up after {self._give_up_after:g} s without progress; "
                    f"the last error: {self._last_error}",
                )
            while time.monotonic() < until and not self._has_nothing_left_to_do():
                self._changed.wait(max(0.0, until - time.monotonic()))
            return not self._has_nothing_left_to_do()

    def _serve(self, connection: _Connection, wait_for_ready: bool) -> FactordError:
        """One connection, from start to end; returns why it ended."""
        with self._changed:
            if self._cancelled:
                return Unavailable(grpc.StatusCode.UNAVAILABLE, "cancelled")
            self._connection = connection
            self._last_progress = time.monotonic()
            self._unsent.extendleft(reversed(self._sent))
            self._sent.clear()
            self._changed.notify_all()  # there is something to watch
        try:
            call = self._connect(self._requests(connection), wait_for_ready)
            with self._changed:
                connection.call = call
                if self._cancelled:
                    call.cancel()
            for response in call:
                if connection.started:
                    self._handle_ack(response)
                else:
                    self._handle_started(connection, response)
            # With OK, which it may do only when it was asked to.
            return Unavailable(grpc.StatusCode.UNAVAILABLE, "the server ended the stream")
        except grpc.RpcError as rpc_error:
            error = from_rpc_error(rpc_error)
            if error.code != grpc.StatusCode.CANCELLED or not connection.timed_out:
                return error
            if not connection.started:
                error.message = f"no answer within ack_timeout, {self._ack_timeout:g} s"
                return error
            return Unavailable(
                grpc.StatusCode.UNAVAILABLE,
                f"no acknowledgement within ack_timeout, {self._ack_timeout:g} s",
            )
        except FactordError as error:  # the server breaks the protocol
            return error
        finally:
            with self._changed:
                self._connection = None  # ends _requests
                connection.cancel()
                self._changed.notify_all()

    def _requests(
        self, connection: _Connection
    ) -> Iterator[rating_service_pb2.StreamRatingsRequest]:
        """What is sent, on a thread of gRPC."""
        start = rating_service_pb2.StreamStart(producer_id=self._producer_id)
        yield rating_service_pb2.StreamRatingsRequest(start=start)
        while (batch := self._next_batch(connection)) is not None:
            yield rating_service_pb2.StreamRatingsRequest(batch=batch)

    def _next_batch(self, connection: _Connection) -> rating_service_pb2.StreamBatch | None:
        """Waits for something to send and takes it; None when the connection is to end."""

        def sendable() -> bool:
            return bool(self._unsent) and len(self._sent) < self._window

        with self._changed:
            while True:
                # A call may end, and the next one begin, before gRPC's thread asks again.
                if self._connection is not connection or self._has_nothing_left_to_do():
                    return None
                if connection.started and sendable():
                    break
                self._changed.wait()
            if not self._sent:
                self._last_progress = time.monotonic()  # from now on an answer is due
            first = self._unsent[0].number
            events: list[rating_pb2.Rating] = []
            # A gap in the numbers ends the batch.
            while (
                sendable()
                and len(events) < self._max_batch_events
                and self._unsent[0].number == first + len(events)
            ):
                events.append(self._unsent[0].message)
                self._sent.append(self._unsent.popleft())
        return rating_service_pb2.StreamBatch(first_number=first, events=events)

    def _handle_started(
        self, connection: _Connection, response: rating_service_pb2.StreamRatingsResponse
    ) -> None:
        if not response.HasField("started"):
            raise _broken_protocol("the server's first message does not answer the start")
        started = response.started
        if started.window_events < 1:
            raise _broken_protocol(f"the server advertises a window of {started.window_events}")
        with self._changed:
            if started.last_number < self._durable_number:
                raise make_error(
                    grpc.StatusCode.DATA_LOSS,
                    f"the server has acknowledged number {self._durable_number} of producer "
                    f"'{self._producer_id}' and now knows only {started.last_number}: it runs on "
                    "another or an older data folder",
                )
            if self._window != 0:
                self._stats.reconnects += 1
            self._window = started.window_events
            self._durable_number = started.last_number
            if self._unsent:  # all that is pending
                # Some of these the server may have rejected. It says so again when it gets them
                # again.
                self._resent_through = started.last_number
            else:
                self._settle_through(started.last_number)
                self._trouble_since = None
            connection.started = True
            self._last_progress = time.monotonic()
            self._changed.notify_all()

    def _handle_ack(self, response: rating_service_pb2.StreamRatingsResponse) -> None:
        if not response.HasField("ack"):
            raise _broken_protocol("the server sent something else than an acknowledgement")
        ack = response.ack
        with self._changed:
            acknowledged = self._stats.last_acknowledged_number
            newest = self._sent[-1].number if self._sent else acknowledged
            if not acknowledged <= ack.last_number <= newest:
                raise _broken_protocol(
                    f"the server acknowledges number {ack.last_number} where it must be "
                    f"{acknowledged} to {newest}"
                )
            settled = list(takewhile(lambda sent: sent.number <= ack.last_number, self._sent))
        rejected = {event.number: event for event in ack.rejected}
        # Before the numbers are settled, so that who comes back from flush() has heard of every
        # rejection.
        self._report_rejected(settled, rejected)
        with self._changed:
            taken = [pending.number for pending in settled if pending.number not in rejected]
            recovered = sum(number <= self._resent_through for number in taken)
            # The number of a duplicate by event_id is not remembered, and the acknowledgement does
            # not say which ones those are.
            if taken and ack.duplicates == recovered:
                self._durable_number = max(self._durable_number, taken[-1])
            self._settle_through(ack.last_number)
            self._stats.rejected += len(ack.rejected)
            self._stats.recovered += recovered
            self._stats.duplicates += ack.duplicates - recovered
            self._stats.applied += len(settled) - len(ack.rejected) - ack.duplicates
            self._stats.last_sequence = max(self._stats.last_sequence, ack.last_sequence)
            self._last_progress = time.monotonic()
            self._changed.notify_all()

    def _report_rejected(
        self, settled: list[_Pending], rejected: dict[int, rating_service_pb2.RejectedEvent]
    ) -> None:
        if self._on_rejected is None or not rejected:
            return
        for pending in settled:
            if event := rejected.get(pending.number):
                rejection = make_error(
                    _ERROR_CODES.get(event.code, grpc.StatusCode.UNKNOWN), event.reason
                )
                try:
                    self._on_rejected(pending.number, pending.rating, rejection)
                except BaseException as error:
                    raise _CallbackError from error


def _broken_protocol(message: str) -> FactordError:
    return make_error(grpc.StatusCode.INTERNAL, message)
