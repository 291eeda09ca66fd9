"""RatingStream against the real server: the window, rejections, takeovers, and exactly once through
kills, lost acknowledgements and hanging servers."""

from __future__ import annotations

import math
import threading
import time
import unittest
from collections.abc import Callable
from typing import Any

import support

import factord
import grpc
from factord import Rating

# Short backoffs, so that a test with many breaks is quick; limits so long that none strikes by
# accident on a slow machine.
QUICK: dict[str, Any] = {
    "ack_timeout": support.PATIENCE,
    "give_up_after": support.PATIENCE,
    "initial_backoff": 0.001,
    "max_backoff": 0.02,
}


def rating_of(number: int) -> Rating:
    """It says its own number."""
    return Rating(f"u{number % 10}", f"i{number}", 3)


BAD = Rating("u", "i", 9)  # out of range: the server rejects it


def final_calls(stream: factord.RatingStream) -> list[Callable[[], None]]:
    """All of them raise the final error."""
    return [stream.flush, stream.close, lambda: stream.write(rating_of(3), 3)]


class StreamTestCase(support.ServerTestCase):
    def stream(self, client: factord.Client, **options: Any) -> factord.RatingStream:
        stream = client.rating_stream("p", **{**QUICK, **options})
        self.addCleanup(stream.cancel)
        return stream

    def check_log(self, server: support.Server, numbers: list[int]) -> None:
        """Stops the server; its log must hold these, once, in order, each with its content."""
        server.terminate()
        log = server.log()
        self.assertEqual([event["producer_number"] for event in log], numbers)
        self.assertEqual([event["item_id"] for event in log], [f"i{number}" for number in numbers])


class WritingTest(StreamTestCase):
    def test_close_settles_everything_written(self) -> None:
        server = self.server()
        client = self.client(server.target)
        with self.stream(client) as stream:
            for number in range(1, 5001):
                stream.write(rating_of(number), number)
        self.assertEqual(
            stream.stats(),
            factord.StreamStats(
                written=5000,
                acknowledged=5000,
                applied=5000,
                last_acknowledged_number=5000,
                last_sequence=5000,
            ),
        )
        self.assertEqual(client.model().sequence, 5000)
        stream.close()
        with self.assertRaisesRegex(ValueError, "closed"):
            stream.write(rating_of(5001), 5001)
        self.check_log(server, list(range(1, 5001)))

    def test_what_was_flushed_is_seen_by_the_next_read(self) -> None:
        client = self.client(self.server().target)
        stream = self.stream(client)
        stream.flush()  # nothing
        for number in range(1, 51):
            stream.write(rating_of(number), number)
            stream.flush()
            self.assertEqual(client.model().sequence, number)

    def test_numbers_increase_and_may_have_gaps(self) -> None:
        server = self.server()
        stream = self.stream(self.client(server.target))
        numbers = [2, 3, 7, 1000, 1001]
        for number in numbers:
            stream.write(rating_of(number), number)
            for bad in (0, -1, number, number - 1):
                with self.assertRaisesRegex(ValueError, "larger than the one before"):
                    stream.write(rating_of(bad), bad)
        with self.assertRaisesRegex(ValueError, "time zone"):
            stream.write(Rating("u", "i", 3, event_time=support.NAIVE_TIME), 2000)
        anything: Any = stream
        for bad_rating, message in (
            (("u", "i", 3), "^rating: must be a factord.Rating, not tuple$"),
            (Rating("u", "i", anything), r"^rating\.rating: "),
            (Rating(anything, "i", 3), r"^rating\.user: "),
        ):
            with self.assertRaisesRegex(TypeError, message):
                anything.write(bad_rating, 2000)
        # Symptom: these ended the stream.
        not_a_number: Any
        for not_a_number in (2000.5, "2000"):
            with self.assertRaisesRegex(TypeError, "^number: "):
                stream.write(rating_of(2000), not_a_number)
        with self.assertRaisesRegex(ValueError, "less than"):
            stream.write(rating_of(2000), 2**63 - 1)
        stream.close()
        self.check_log(server, numbers)

    def test_it_counts_on_from_the_last_number_of_the_server(self) -> None:
        server = self.server()
        client = self.client(server.target)
        with self.stream(client) as stream:
            stream.write(rating_of(7), 7)
            stream.write(rating_of(8))
        with self.stream(client) as stream:
            for number in range(9, 12):
                stream.write(rating_of(number))
        self.check_log(server, [7, 8, 9, 10, 11])

    def test_a_second_run_of_the_same_input_sends_only_what_is_missing(self) -> None:
        server = self.server()
        client = self.client(server.target)
        for count, resumed in ((100, 0), (150, 100)):
            with self.stream(client) as stream:
                for number in range(1, count + 1):
                    stream.write(rating_of(number), number)
            stats = stream.stats()
            self.assertEqual((stats.acknowledged, stats.duplicates), (count, 0))
            # Those written before the handshake are found to be there by it.
            self.assertEqual((stats.resumed + stats.recovered, stats.rejected), (resumed, 0))
        self.check_log(server, list(range(1, 151)))

    def test_rejected_ratings_are_reported_and_the_stream_goes_on(self) -> None:
        server = self.server()
        reports: list[tuple[int, Rating, factord.FactordError]] = []
        stream = self.stream(
            self.client(server.target), on_rejected=lambda *report: reports.append(report)
        )
        bad = {4: Rating("u", "i", 9), 8: Rating("", "i", 3), 9: Rating("u", "i" * 257, 3)}
        for number in range(1, 11):
            stream.write(bad.get(number, rating_of(number)), number)
        stream.flush()
        self.assertEqual([(number, rating) for number, rating, _ in reports], list(bad.items()))
        for (_, _, error), field in zip(reports, ("rating", "user_id", "item_id")):
            self.assertIsInstance(error, factord.InvalidArgument)
            self.assertIn(field, error.message)
        stats = stream.stats()
        self.assertEqual((stats.rejected, stats.applied, stats.acknowledged), (3, 7, 10))
        stream.close()
        self.check_log(server, [1, 2, 3, 5, 6, 7, 10])

    def test_what_the_callback_raises_ends_the_stream(self) -> None:
        def refuse(number: int, rating: Rating, error: factord.FactordError) -> None:
            raise KeyError(number)

        stream = self.stream(self.client(self.server().target), on_rejected=refuse)
        stream.write(rating_of(1), 1)
        stream.write(Rating("u", "i", 9), 2)
        for call in final_calls(stream):
            with self.assertRaisesRegex(KeyError, "2"):
                call()

    # Symptom: the stream took it for an error of its own connection, and reconnected until it gave up.
    def test_an_error_of_another_call_in_the_callback_ends_the_stream(self) -> None:
        elsewhere = self.client("127.0.0.1:1")
        calls: list[int] = []

        def ask_elsewhere(number: int, rating: Rating, error: factord.FactordError) -> None:
            calls.append(number)
            elsewhere.health()

        def ask_grpc_elsewhere(number: int, rating: Rating, error: factord.FactordError) -> None:
            calls.append(number)
            with grpc.insecure_channel("127.0.0.1:1") as channel:
                channel.unary_unary("/a/b")(b"")

        server = self.server()
        for callback, kind in (
            (ask_elsewhere, factord.Unavailable),
            (ask_grpc_elsewhere, grpc.RpcError),
        ):
            calls.clear()
            stream = self.stream(self.client(server.target), on_rejected=callback, give_up_after=2)
            stream.write(BAD)
            for call in final_calls(stream):
                with self.assertRaises(kind):
                    call()
            self.assertEqual((calls, stream.stats().reconnects), ([1], 0))

    def test_the_window_of_the_server_is_kept(self) -> None:
        # The server ends a stream that sends more.
        server = self.server("--stream_window_events=10000")
        client = self.client(server.target)
        client.model()
        stream = self.stream(client, max_batch_events=3000)
        stream.write(rating_of(1), 1)
        stream.flush()
        server.pause()

        def write() -> None:
            for number in range(2, 20_001):
                stream.write(rating_of(number), number)

        writer = self.thread(write)
        support.wait_until(lambda: stream.stats().written == 10_001, "a full window")
        server.resume()
        writer.finish()
        stream.close()
        self.assertEqual(stream.stats().reconnects, 0)
        self.check_log(server, list(range(1, 20_001)))

    def test_a_window_that_is_smaller_after_a_reconnect_is_kept(self) -> None:
        server = self.server("--stream_window_events=30000")
        stream = self.stream(self.client(server.target))
        stream.write(rating_of(1), 1)
        stream.flush()
        server.pause()
        for number in range(2, 30_002):
            stream.write(rating_of(number), number)
        server.kill()
        server.flags = ("--stream_window_events=10000",)
        server.start()
        stream.close()
        self.assertEqual(stream.stats().reconnects, 1)
        self.check_log(server, list(range(1, 30_002)))

    def test_write_blocks_while_the_window_is_full(self) -> None:
        server = self.server()
        stream = self.stream(self.client(server.target), max_unacknowledged=5)
        stream.write(rating_of(1), 1)
        stream.flush()
        server.pause()
        written: list[int] = []

        def write() -> None:
            for number in range(2, 12):
                stream.write(rating_of(number), number)
                written.append(number)

        writer = self.thread(write)
        support.wait_until(lambda: len(written) == 5, "a full window")
        writer.join(0.2)  # would be done by now
        self.assertEqual(written, [2, 3, 4, 5, 6])
        server.resume()
        writer.finish()
        stream.close()
        self.check_log(server, list(range(1, 12)))

    def test_an_exception_in_the_block_cancels(self) -> None:
        server = self.server()
        with self.assertRaises(KeyError):
            with self.stream(self.client(server.target)) as stream:
                stream.write(rating_of(1), 1)
                stream.flush()
                server.pause()
                stream.write(rating_of(2), 2)  # close() would wait for it
                raise KeyError
        with self.assertRaisesRegex(ValueError, "closed"):
            stream.flush()
        with self.assertRaisesRegex(ValueError, "closed"):
            stream.write(rating_of(3), 3)

    # Symptom: close() returned as if everything written were settled.
    def test_close_fails_when_the_stream_is_cancelled(self) -> None:
        server = self.server()
        stream = self.stream(self.client(server.target))
        stream.write(rating_of(1), 1)
        stream.flush()
        server.pause()
        stream.write(rating_of(2), 2)
        close = self.thread(stream.close)
        close.join(0.2)
        stream.cancel()
        with self.assertRaisesRegex(ValueError, "closed"):
            close.finish()
        with self.assertRaisesRegex(ValueError, "closed"):
            stream.close()

    def test_a_stream_may_be_cancelled_in_its_block(self) -> None:
        server = self.server()
        with self.stream(self.client(server.target)) as stream:
            stream.write(rating_of(1), 1)
            stream.flush()
            server.pause()
            stream.write(rating_of(2), 2)
            stream.cancel()
        self.assertEqual(stream.stats().acknowledged, 1)

    # Symptom: write() and close() hung in the child, which has none of the stream's threads.
    def test_a_stream_belongs_to_the_process_that_opened_it(self) -> None:
        server = self.server()
        stream = self.stream(self.client(server.target))
        stream.write(rating_of(1), 1)
        stream.flush()

        def use() -> str:
            with stream:
                stream.write(rating_of(2), 2)
            return "written"

        calls: list[Callable[[], Any]] = [use, *final_calls(stream), stream.stats]
        for call in calls:
            self.assertRegex(
                support.in_a_fork(lambda: str(call())), "RuntimeError: .*after the fork"
            )
        stream.write(rating_of(2), 2)
        stream.close()
        self.check_log(server, [1, 2])

    def test_bad_options_are_refused(self) -> None:
        client = self.client("127.0.0.1:1")
        defaults: dict[str, Any] = {"producer_id": "p"}
        bad: list[dict[str, Any]] = [
            {"producer_id": ""},
            {"max_batch_events": 0},
            {"max_unacknowledged": 0},
            {"ack_timeout": 0},
            {"ack_timeout": math.inf},
            {"ack_timeout": math.nan},
            {"give_up_after": -1},
            {"give_up_after": math.nan},
            {"max_backoff": math.inf},
            {"initial_backoff": 0},
            {"initial_backoff": 2, "max_backoff": 1},
        ]
        for options in bad:
            with self.assertRaises(ValueError, msg=str(options)):
                client.rating_stream(**(defaults | options))
        untyped: dict[str, Any] = {"producer_id": 7, "max_batch_events": 1.5, "on_rejected": "f"}
        for name, value in untyped.items():
            with self.assertRaisesRegex(TypeError, f"^{name}: "):
                client.rating_stream(**(defaults | {name: value}))


class FailuresTest(StreamTestCase):
    # Symptom: an OverflowError in whoever waited.
    def test_limits_may_be_very_large(self) -> None:
        limits = {"ack_timeout": 1e300, "give_up_after": math.inf}
        stream = self.stream(self.client(self.server().target), **limits)
        stream.write(rating_of(1), 1)
        stream.close()

    def test_exactly_once_though_the_server_is_killed(self) -> None:
        server = self.server()
        client = self.client(server.target)
        reports: list[int] = []
        stream = self.stream(client, on_rejected=lambda number, *_: reports.append(number))
        count = 0
        for end in (server.kill, server.terminate, server.kill, server.kill, server.terminate):
            stop = threading.Event()

            def write(first: int) -> int:
                number = first
                while not stop.is_set():
                    stream.write(rating_of(number) if number % 7 else BAD, number)
                    number += 1
                return number - 1

            writer = self.thread(write, count + 1)
            support.wait_until(
                lambda: stream.stats().last_acknowledged_number > count + 2000, "acknowledgements"
            )
            end()
            server.start()
            stop.set()
            count = writer.finish()
        stream.close()
        stats = stream.stats()
        self.assertEqual((stats.written, stats.acknowledged), (count, count))
        self.assertEqual(stats.acknowledged, stats.applied + stats.recovered + stats.rejected)
        self.assertGreaterEqual(stats.reconnects, 5)
        self.assertEqual(reports, list(range(7, count + 1, 7)))
        self.check_log(server, [number for number in range(1, count + 1) if number % 7])

    def test_lost_acknowledgements_are_recovered(self) -> None:
        server = self.server()
        proxy = self.proxy(server)
        direct = self.client(server.target)
        stream = self.stream(self.client(proxy.target))
        stream.write(rating_of(1), 1)
        stream.flush()
        proxy.lose_replies = True
        for number in range(2, 101):
            stream.write(rating_of(number), number)
        support.wait_until(lambda: direct.model().sequence == 100, "the ratings")
        self.assertEqual(stream.stats().acknowledged, 1)
        proxy.cut()
        stream.close()
        stats = stream.stats()
        self.assertEqual((stats.applied, stats.recovered, stats.duplicates), (1, 99, 0))
        self.assertEqual(stats.reconnects, 1)
        self.check_log(server, list(range(1, 101)))

    # Symptom: the rejected rating was counted as recovered, and nobody heard of it.
    def test_a_rejection_is_reported_though_its_acknowledgement_was_lost(self) -> None:
        server = self.server()
        proxy = self.proxy(server)
        direct = self.client(server.target)
        reports: list[int] = []
        stream = self.stream(
            self.client(proxy.target), on_rejected=lambda number, *_: reports.append(number)
        )
        stream.write(rating_of(1), 1)
        stream.flush()
        proxy.lose_replies = True
        for number in range(2, 101):
            stream.write(BAD if number in (50, 100) else rating_of(number), number)
        support.wait_until(lambda: direct.model().sequence == 98, "the ratings")
        self.assertEqual((stream.stats().acknowledged, reports), (1, []))
        proxy.cut()
        stream.close()
        self.assertEqual(reports, [50, 100])
        stats = stream.stats()
        self.assertEqual((stats.applied, stats.recovered, stats.rejected), (1, 97, 2))
        self.assertEqual((stats.acknowledged, stats.duplicates), (100, 0))
        self.check_log(server, [number for number in range(1, 100) if number != 50])

    # Symptom: the server remembers no number of a rating that it did not apply, and after a restart
    # it was taken for one with an older data folder.
    def test_a_rating_at_the_end_that_is_not_applied_is_no_data_loss(self) -> None:
        known = Rating("u1", "i1", 3, event_id="known")
        for last, outcome in ((BAD, (1, 0)), (known, (0, 1))):
            server = self.server()
            stream = self.stream(self.client(server.target))
            stream.write(known, 1)
            # In one message with the one before, or by itself.
            for number in (2, 4):
                stream.write(rating_of(number), number)
                stream.write(last, number + 1)
                stream.flush()
            stream.write(last, 6)
            stream.flush()
            stats = stream.stats()
            self.assertEqual(
                (stats.rejected, stats.duplicates), tuple(3 * count for count in outcome)
            )
            server.terminate()
            server.start()
            stream.write(rating_of(7), 7)
            stream.close()
            stats = stream.stats()
            self.assertEqual((stats.applied, stats.recovered, stats.reconnects), (4, 0, 1))
            self.check_log(server, [1, 2, 4, 7])

    def test_it_waits_for_a_server_that_is_not_there_yet(self) -> None:
        server = self.server(start=False)
        stream = self.stream(self.client(server.target))
        writer = self.thread(stream.write, rating_of(1))
        writer.join(0.3)  # it does not give up
        server.start()
        start = time.monotonic()
        writer.finish()
        self.assertLess(time.monotonic() - start, 5)  # gRPC by itself looks every 5 s
        stream.close()
        self.check_log(server, [1])

    def test_a_connection_without_acknowledgements_is_made_anew(self) -> None:
        server = self.server()
        proxy = self.proxy(server)
        stream = self.stream(self.client(proxy.target), ack_timeout=0.3)
        stream.write(rating_of(1), 1)
        stream.flush()
        server.pause()
        stream.write(rating_of(2), 2)
        flush = self.thread(stream.flush)
        flush.join(0.7)  # more than one timeout
        self.assertTrue(flush.is_alive())
        server.resume()
        flush.finish()
        stream.close()
        self.assertGreaterEqual(stream.stats().reconnects, 1)
        self.check_log(server, [1, 2])

    def test_a_time_without_ratings_is_no_time_without_acknowledgements(self) -> None:
        server = self.server()
        stream = self.stream(self.client(server.target), ack_timeout=3)
        stream.write(rating_of(1), 1)
        stream.flush()
        time.sleep(3.1)
        server.pause()
        stream.write(rating_of(2), 2)
        time.sleep(0.2)  # until it is sent
        flush = self.thread(stream.flush)
        flush.join(0.2)
        server.resume()
        flush.finish()
        self.assertEqual(stream.stats().reconnects, 0)

    def test_it_gives_up_on_a_server_that_hangs(self) -> None:
        server = self.server()
        stream = self.stream(self.client(server.target), ack_timeout=0.1, give_up_after=0.5)
        stream.write(rating_of(1), 1)
        stream.flush()
        server.pause()
        stream.write(rating_of(2), 2)
        for call in final_calls(stream):
            with self.assertRaisesRegex(
                factord.Unavailable,
                "gave up after 0.5 s .*: no acknowledgement within ack_timeout, 0.1 s",
            ):
                call()

    def test_it_gives_up_on_a_server_that_hangs_from_the_first(self) -> None:
        server = self.server()
        client = self.client(server.target)
        client.model()  # connected
        server.pause()
        stream = self.stream(client, ack_timeout=0.1, give_up_after=0.5)
        with self.assertRaisesRegex(
            factord.Unavailable, "gave up after 0.5 s .*: no answer within ack_timeout, 0.1 s"
        ):
            stream.write(rating_of(1))

    def test_it_gives_up_where_there_is_no_server(self) -> None:
        client = self.client(self.server(start=False).target)
        stream = self.stream(client, give_up_after=0.3)
        start = time.monotonic()
        with self.assertRaisesRegex(factord.Unavailable, "gave up after 0.3 s.*(?i:refused)"):
            stream.write(rating_of(1))
        self.assertLess(time.monotonic() - start, 10)

    def test_an_unused_stream_has_nothing_to_wait_for(self) -> None:
        client = self.client(self.server(start=False).target)
        for age in (0, 0.3):  # the first attempt, and one that waits for a connection
            stream = self.stream(client)
            time.sleep(age)
            start = time.monotonic()
            stream.close()
            self.assertLess(time.monotonic() - start, 10)

    def test_other_errors_are_final(self) -> None:
        client = self.client(self.server().target)
        stream = client.rating_stream("p" * 65, **QUICK)
        for _ in range(2):
            with self.assertRaises(factord.InvalidArgument) as raised:
                stream.write(rating_of(1), 1)
            self.assertIn("producer_id", raised.exception.violations[0].field)
        with self.assertRaises(factord.InvalidArgument):
            stream.close()

    def test_a_newer_stream_of_the_producer_takes_over(self) -> None:
        server = self.server()
        client = self.client(server.target)
        older = self.stream(client)
        older.write(rating_of(1), 1)
        older.flush()
        newer = self.stream(client)
        newer.write(rating_of(2))
        newer.flush()
        with self.assertRaises(factord.FactordError) as raised:
            older.write(rating_of(3), 3)
            older.flush()
        self.assertEqual(raised.exception.code, grpc.StatusCode.ABORTED)
        newer.close()
        self.check_log(server, [1, 2])

    def test_nothing_is_sent_to_a_server_that_forgot(self) -> None:
        server = self.server()
        stream = self.stream(self.client(server.target))
        for number in range(1, 11):
            stream.write(rating_of(number), number)
        stream.write(BAD, 11)
        stream.flush()
        server.kill()
        server.data_dir = self.folder() + "/another"
        server.start()
        with self.assertRaises(factord.FactordError) as raised:
            stream.write(rating_of(12), 12)
            stream.flush()
        self.assertEqual(raised.exception.code, grpc.StatusCode.DATA_LOSS)
        self.assertIn("acknowledged number 10", raised.exception.message)
        self.check_log(server, [])

    # Symptom: a ValueError, "Cannot invoke RPC: Channel closed!".
    def test_a_closed_client_ends_its_streams(self) -> None:
        server = self.server()
        client = self.client(server.target)
        settled, pending = self.stream(client), client.rating_stream("q", **QUICK)
        self.addCleanup(pending.cancel)
        for stream in (settled, pending):
            stream.write(rating_of(1), 1)
            stream.flush()
        server.pause()
        pending.write(rating_of(2), 2)
        client.close()

        def write_and_flush(stream: factord.RatingStream) -> None:
            stream.write(rating_of(3), 3)
            stream.flush()

        for stream, outcome_unknown in ((settled, False), (pending, True)):
            with self.assertRaisesRegex(
                factord.FactordError, "CANCELLED: the client was closed"
            ) as raised:
                write_and_flush(stream)
            self.assertEqual(raised.exception.code, grpc.StatusCode.CANCELLED)
            if outcome_unknown:
                self.assertIs(raised.exception.outcome_unknown, True)

    # Symptom: close() waited for as long as the server hung.
    def test_a_client_can_be_closed_though_the_server_hangs(self) -> None:
        server = self.server()
        client = self.client(server.target)
        stream = self.stream(client)
        stream.write(rating_of(1), 1)
        stream.flush()
        server.pause()
        for number in range(2, 30_000):  # more than goes into the buffers of the connection
            stream.write(Rating("u" * 250, "i" * 250, 3), number)
        time.sleep(1)
        self.thread(client.close).finish()


if __name__ == "__main__":
    unittest.main()
