"""Client against the real server: every method, its errors, deadlines, and restarts on the way."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import support

import factord
import grpc


class CallsTest(support.ServerTestCase):
    def test_what_was_rated_is_seen_by_the_next_read(self) -> None:
        client = self.client(self.server().target)
        for n in range(1, 21):
            result = client.rate("ann", f"i{n}", 4.5)
            self.assertEqual((result.sequence, result.duplicate), (n, False))
            answer = client.recommend("ann", 1000, exclude_rated=False, min_sequence=n)
            self.assertEqual((answer.sequence, answer.cold_start), (n, False))
            self.assertIn(f"i{n}", [item for item, _ in answer.items])
            self.assertEqual(client.recommend("ann").items, [])

    def test_many_ratings_are_applied_in_order_and_all_or_none(self) -> None:
        client = self.client(self.server().target)
        results = client.rate_many(factord.Rating("ann", f"i{n}", 3) for n in range(5))
        self.assertEqual([result.sequence for result in results], [1, 2, 3, 4, 5])
        with self.assertRaises(factord.InvalidArgument) as raised:
            client.rate_many([factord.Rating("ann", "x", 3), factord.Rating("", "y" * 257, 9)])
        self.assertEqual(raised.exception.code, grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIs(raised.exception.outcome_unknown, False)
        self.assertEqual(
            {violation.field for violation in raised.exception.violations},
            {"events[1].user_id", "events[1].item_id", "events[1].rating"},
        )
        for violation in raised.exception.violations:
            self.assertIn(f"{violation.field}: {violation.description}", str(raised.exception))
        self.assertEqual(client.model().sequence, 5)

    def test_every_field_of_a_rating_arrives(self) -> None:
        server = self.server()
        client = self.client(server.target)
        at = datetime(2024, 2, 29, 12, 30, 1, 250_000, tzinfo=timezone.utc)
        client.rate("ann", "i", 2.5, event_time=at, event_id="mine", recommendation_id="r1")
        with self.assertRaisesRegex(ValueError, "time zone"):
            client.rate("ann", "i", 2.5, event_time=support.NAIVE_TIME)
        server.terminate()
        [event] = server.log()
        self.assertEqual((event["user_id"], event["item_id"], event["rating"]), ("ann", "i", 2.5))
        self.assertEqual(datetime.fromisoformat(event["event_time"].replace("Z", "+00:00")), at)
        self.assertEqual((event["event_id"], event["recommendation_id"]), ("mine", "r1"))

    def test_events_that_are_no_ratings(self) -> None:
        server = self.server("--event_types=view:0.5:0.2,click")
        client = self.client(server.target)
        client.take("ann", "i", "click", event_id="c1")
        client.rate_many(
            [factord.Rating("ann", "j", event_type="view"), factord.Rating("bob", "j", 4)]
        )
        with self.assertRaisesRegex(factord.InvalidArgument, "must be one of view, click"):
            client.take("ann", "i", "purchase")
        with self.assertRaisesRegex(factord.InvalidArgument, "must not be set with event_type"):
            client.rate_many([factord.Rating("ann", "i", 4, event_type="click")])
        with self.assertRaisesRegex(TypeError, "rating"):
            client.rate_many([factord.Rating("ann", "i")])
        self.assertEqual(client.recommend("ann").items, [])  # both are known to her
        self.assertEqual([t.name for t in client.model().config.event_types], ["view", "click"])
        self.assertEqual(client.model().prequential_error.events, 1)
        server.terminate()
        events = server.log()
        self.assertEqual([event.get("event_type") for event in events], ["click", "view", None])

    def test_passes_are_made_in_the_background(self) -> None:
        client = self.client(self.server().target)
        self.assertEqual(client.passes().state, client.passes().STATE_UNSPECIFIED)
        client.rate_many(
            factord.Rating(f"u{n % 30}", f"i{n * 7 % 40}", 5 if (n % 30 + n * 7 % 40) % 2 else 1)
            for n in range(1200)
        )
        with self.assertRaises(factord.InvalidArgument):
            client.start_passes(0)
        client.start_passes(3)
        support.wait_until(
            lambda: client.passes().state == client.passes().STATE_DONE, "three passes"
        )
        progress = client.passes()
        self.assertLess(progress.after.mae, progress.before.mae)
        self.assertEqual(progress.events_done, progress.events_total)
        self.assertEqual(client.stop_passes(), progress)

    def test_a_repeated_event_id_is_a_duplicate(self) -> None:
        client = self.client(self.server().target)
        first = client.rate("ann", "i", 3, event_id="x")
        again = client.rate("ann", "i", 3, event_id="x")
        self.assertEqual((again.sequence, again.duplicate), (first.sequence, True))
        with self.assertRaises(factord.FactordError) as raised:
            client.rate("ann", "i", 4, event_id="x")
        self.assertEqual(raised.exception.code, grpc.StatusCode.ALREADY_EXISTS)

    def test_ratings_without_an_id_are_given_one(self) -> None:
        server = self.server()
        for _ in range(2):
            client = self.client(server.target)
            client.rate("ann", "i", 3)
            client.rate_many([factord.Rating("ann", "i", 3)] * 2)
        server.terminate()
        ids = [event["event_id"] for event in server.log()]
        self.assertEqual(len(set(ids)), 6)
        for event_id in ids:
            self.assertRegex(event_id, "^[0-9a-f]{32}-[0-9]+$")

    # Symptom: the ratings of a child were taken for duplicates of its parent's, and lost.
    def test_processes_that_share_a_client_give_different_ids(self) -> None:
        client = self.client("127.0.0.1:1")

        def stamp() -> str:
            stamped = client.stamp_event_ids([factord.Rating("ann", "i", 3)] * 2)
            return " ".join(rating.event_id or "" for rating in stamped)

        def stamp_in_forks() -> str:
            return " ".join([stamp(), support.in_a_fork(stamp), stamp()])

        first = stamp()
        ids = " ".join([first, support.in_a_fork(stamp_in_forks), stamp()]).split()
        self.assertEqual((len(ids), len(set(ids))), (10, 10), ids)
        for event_id in ids:
            self.assertRegex(event_id, "^[0-9a-f]{32}-[0-9]+$")

    def test_stamped_ratings_can_be_sent_again(self) -> None:
        client = self.client(self.server().target)
        ratings = [factord.Rating("ann", "i", 3), factord.Rating("ann", "i", 3, event_id="mine")]
        stamped = client.stamp_event_ids(ratings)
        self.assertEqual(stamped[1], ratings[1])
        first, again = client.rate_many(stamped), client.rate_many(stamped)
        self.assertEqual([result.duplicate for result in first + again], [False] * 2 + [True] * 2)

    def test_recommendations(self) -> None:
        client = self.client(self.server().target)
        client.rate_many(factord.Rating("ann", f"i{n}", n % 6) for n in range(20))
        client.rate("bob", "i0", 5)
        best = [item for item, _ in client.recommend("bob").items]
        answer = client.recommend("bob", max_items=7, deny=[best[0], best[2], "nothing"])
        self.assertEqual(
            [item for item, _ in answer.items], [best[1], *best[3:9]], "not what was denied"
        )
        self.assertEqual(answer.items, sorted(answer.items, key=lambda item: (-item[1], item[0])))
        self.assertNotIn("i0", [item for item, _ in client.recommend("bob", 1000).items])
        self.assertRegex(answer.recommendation_id, "^[0-9a-f]{32}$")
        stranger = client.recommend("nobody")
        self.assertTrue(stranger.cold_start)
        self.assertEqual(stranger.items[0], ("i0", 2.0))
        with self.assertRaises(factord.NotFound):
            client.recommend("nobody", strict=True)
        with self.assertRaises(factord.FactordError) as raised:
            client.recommend("ann", min_sequence=1000)
        self.assertEqual(raised.exception.code, grpc.StatusCode.OUT_OF_RANGE)

    def test_predictions_are_the_product_of_the_rows(self) -> None:
        client = self.client(self.server("--variant=pa-1").target)
        for n in range(200):
            client.rate(f"u{n % 7}", f"i{n % 11}", n % 6)
        known, unknown = client.predict([("u1", "i2"), ("nobody", "i2")])
        self.assertEqual((known.cold_start, unknown.cold_start), (False, True))
        # Three pages, the last of them not full.
        items = {row.id: row.factors for row in client.factors("items", page_size=5)}
        users = {row.id: row.factors for row in client.factors("users")}
        self.assertEqual((len(items), len(users)), (11, 7))
        product = sum(p * q for p, q in zip(users["u1"], items["i2"]))
        self.assertAlmostEqual(known.rating, min(max(product, 0), 5), places=4)
        with self.assertRaises(factord.NotFound):
            client.predict([("nobody", "i2")], strict=True)

    def test_operations(self) -> None:
        backups = self.folder()
        client = self.client(self.server("--rank=4", f"--backup_dir={backups}").target)
        client.rate_many(factord.Rating("ann", f"i{n}", 3) for n in range(5))
        model = client.model()
        self.assertEqual((model.config.rank, model.users, model.items), (4, 1, 5))
        topics = client.topics(items_per_topic=2, min_ratings=1)
        self.assertEqual([len(topic.items) for topic in topics], [2, 2, 2, 2])
        state = client.compute_hash()
        snapshot = client.snapshot()
        backup = client.backup("monday")
        self.assertEqual(snapshot.hash, state.hash)
        self.assertEqual((backup.hash, backup.sequence), (state.hash, 5))
        self.assertTrue(os.path.isdir(os.path.join(backups, "monday")))
        with self.assertRaises(factord.FactordError) as raised:
            client.backup("monday")
        self.assertEqual(raised.exception.code, grpc.StatusCode.ALREADY_EXISTS)

    def test_health(self) -> None:
        client = self.client(self.server().target)
        client.model()  # it serves
        for service in ("", "factord.v1.RatingService", "liveness"):
            self.assertIs(client.health(service), True)
        with self.assertRaises(factord.NotFound):
            client.health("factord.v1.Nothing")

    def test_a_large_answer_is_taken(self) -> None:
        # 256 topics of 100 items with long ids: more than the 4 MiB that gRPC takes by itself.
        client = self.client(self.server("--rank=256").target, read_timeout=support.PATIENCE)
        client.rate_many(factord.Rating("ann", f"{n:0>200}", 3) for n in range(100))
        topics = client.topics(items_per_topic=100)
        self.assertEqual([len(topic.items) for topic in topics], [100] * 256)

    def test_a_closed_client_refuses_calls(self) -> None:
        with factord.Client(self.server().target) as client:
            client.model()
        calls: list[Callable[[], object]] = [
            client.model,
            client.snapshot,
            lambda: client.rate("ann", "i", 3),
            lambda: client.rating_stream("p"),
            client.close,  # may be repeated
        ]
        for call in calls[:-1]:
            with self.assertRaisesRegex(
                factord.FactordError, "CANCELLED: the client was closed"
            ) as raised:
                call()
            self.assertEqual(raised.exception.code, grpc.StatusCode.CANCELLED)
            self.assertIs(raised.exception.outcome_unknown, False)
        calls[-1]()

    def test_closing_a_client_ends_its_calls(self) -> None:
        server = self.server()
        client = self.client(server.target, write_timeout=support.PATIENCE)
        client.model()
        server.pause()
        rating = self.thread(lambda: client.rate("ann", "i", 3))
        rating.join(0.2)
        client.close()
        with self.assertRaisesRegex(
            factord.FactordError, "CANCELLED: the client was closed"
        ) as raised:
            rating.finish()
        self.assertIs(raised.exception.outcome_unknown, True)
        # One that waits to be repeated.
        client = self.client("127.0.0.1:1", write_timeout=support.PATIENCE)
        rating = self.thread(lambda: client.rate("ann", "i", 3))
        rating.join(1)
        client.close()
        with self.assertRaisesRegex(
            factord.FactordError, "CANCELLED: the client was closed"
        ) as raised:
            rating.finish()


class FailuresTest(support.ServerTestCase):
    def test_a_hanging_server_is_a_deadline_exceeded(self) -> None:
        server = self.server()
        client = self.client(server.target, read_timeout=0.3, write_timeout=0.3, admin_timeout=0.3)
        client.model(timeout=support.PATIENCE)
        server.pause()
        calls: list[Callable[[], object]] = [
            lambda: client.recommend("ann"),
            lambda: client.rate("ann", "i", 3),
            client.compute_hash,
        ]
        for call in calls:
            start = time.monotonic()
            with self.assertRaisesRegex(
                factord.DeadlineExceeded, f"no answer from {server.target} within 0.3 s"
            ):
                call()
            self.assertGreaterEqual(time.monotonic() - start, 0.29)
            self.assertLess(time.monotonic() - start, 10)  # a slow machine, but no default
        # The timeout of a call goes before that of the client.
        answer = self.thread(lambda: client.recommend("ann", timeout=support.PATIENCE))
        time.sleep(0.4)  # longer than the client's
        server.resume()
        self.assertTrue(answer.finish().cold_start)

    # Symptoms: it was a DEADLINE_EXCEEDED, and of unknown outcome.
    def test_without_a_server_it_is_unavailable_and_nothing_was_written(self) -> None:
        client = self.client(self.server(start=False).target, read_timeout=1, write_timeout=1)
        calls: list[Callable[[], object]] = [
            lambda: client.recommend("ann"),
            lambda: client.rate("ann", "i", 3),
        ]
        for call in calls:
            start = time.monotonic()
            with self.assertRaisesRegex(
                factord.Unavailable, "refused.*; gave up after [0-9]+ attempts in 1 s"
            ) as raised:
                call()
            self.assertLess(time.monotonic() - start, 10)
            if "without an answer" not in str(raised.exception):  # on a slow machine
                self.assertIs(raised.exception.outcome_unknown, False)
        with self.assertRaises(factord.Unavailable) as raised:
            client.snapshot()
        self.assertIs(raised.exception.outcome_unknown, False)

    # Symptom: a program whose last call had failed hung for ever when it ended.
    def test_a_program_ends_after_a_failed_call_though_the_client_is_open(self) -> None:
        program = """
import sys, threading, factord
client = factord.Client(sys.argv[1])
def read():
    try:
        client.recommend("ann", timeout=float(sys.argv[2]))
    except factord.Unavailable:
        print("unavailable")
thread = threading.Thread(target=read, daemon=True)
thread.start()
thread.join(float(sys.argv[3]))
"""
        target = self.server(start=False).target
        # The second one still waits for the server, and is left at that.
        for timeout, patience, output in (("0.5", "60", "unavailable\n"), ("60", "1", "")):
            ended = subprocess.run(
                [sys.executable, "-B", "-c", program, target, timeout, patience],
                capture_output=True,
                text=True,
                timeout=support.PATIENCE / 2,
            )
            self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, output, ""))

    def test_the_outcome_is_unknown_when_a_rating_may_have_arrived(self) -> None:
        server = self.server()
        proxy = self.proxy(server)
        direct = self.client(server.target)
        client = self.client(proxy.target)
        client.model()
        proxy.lose_replies = True
        rating = self.thread(lambda: client.rate("ann", "i", 3, timeout=3))
        support.wait_until(lambda: direct.model().sequence == 1, "the rating")
        server.kill()  # the attempts after it find no connection
        proxy.close()
        with self.assertRaisesRegex(factord.Unavailable, "refused.*attempts") as raised:
            rating.finish()
        self.assertIs(raised.exception.outcome_unknown, True)

    def test_what_is_not_safe_to_repeat_is_not_repeated(self) -> None:
        client = self.client(self.server(start=False).target, read_timeout=120)
        start = time.monotonic()
        calls: list[Callable[[], object]] = [
            client.snapshot,
            lambda: client.backup("x"),
            client.health,
        ]
        for call in calls:
            with self.assertRaises(factord.Unavailable):
                call()
        self.assertLess(time.monotonic() - start, support.PATIENCE)

    def test_calls_wait_for_a_server_that_is_not_there_yet(self) -> None:
        server = self.server(start=False)
        client = self.client(server.target)
        read = self.thread(lambda: client.recommend("ann", timeout=support.PATIENCE))
        write = self.thread(lambda: client.rate("ann", "i", 3, timeout=support.PATIENCE))
        time.sleep(2)  # until gRPC alone would have given up
        server.start()
        start = time.monotonic()
        read.finish()
        self.assertEqual(write.finish().sequence, 1)
        self.assertLess(time.monotonic() - start, 5)  # gRPC by itself looks every 5 s

    def test_a_rating_whose_answer_was_lost_is_applied_once(self) -> None:
        server = self.server()
        proxy = self.proxy(server)
        direct = self.client(server.target)
        client = self.client(proxy.target)
        for n in range(1, 4):
            client.model()  # the connection is there
            proxy.lose_replies = True
            rating = self.thread(
                lambda: client.rate_many(
                    [factord.Rating("ann", "a", 3), factord.Rating("ann", "b", 3)],
                    timeout=support.PATIENCE,
                )
            )
            support.wait_until(lambda: direct.model().sequence == 2 * n, "the rating")
            proxy.cut()
            self.assertEqual(
                rating.finish(),
                [factord.RatingResult(2 * n - 1, True), factord.RatingResult(2 * n, True)],
            )
        server.terminate()
        self.assertEqual(len(server.log()), 6)

    def test_calls_ride_over_restarts_and_are_applied_once(self) -> None:
        server = self.server()
        client = self.client(
            server.target, read_timeout=support.PATIENCE, write_timeout=support.PATIENCE
        )
        ends = (server.kill, server.terminate, server.kill, server.kill)
        self._end_under_load(server, client, *ends)

    # What users have who set nothing: every restart is over before the deadline of a call.
    def test_calls_ride_over_restarts_with_the_defaults_of_server_and_client(self) -> None:
        server = self.server()
        self._end_under_load(server, self.client(server.target), *[server.terminate] * 3)

    def _end_under_load(
        self, server: support.Server, client: factord.Client, *ends: Callable[[], None]
    ) -> None:
        stop = threading.Event()

        def work(name: str) -> int:
            for n in itertools.count(1):
                if stop.is_set():
                    return n - 1
                result = client.rate(name, f"{name}-{n}", 3)
                answer = client.recommend(name, 1000, exclude_rated=False)
                self.assertGreaterEqual(answer.sequence, result.sequence)
            raise AssertionError

        workers = {f"w{w}": self.thread(work, f"w{w}") for w in range(4)}
        for end in ends:
            before = client.model().sequence
            support.wait_until(lambda: client.model().sequence > before + 20, "some ratings")
            end()
            server.start()
        before = client.model().sequence
        support.wait_until(lambda: client.model().sequence > before + 20, "some ratings")
        stop.set()
        rated = {name: worker.finish() for name, worker in workers.items()}
        server.terminate()
        items = [event["item_id"] for event in server.log()]
        self.assertEqual(
            sorted(items), sorted(f"{name}-{n + 1}" for name in rated for n in range(rated[name]))
        )

    def test_an_overloaded_server_is_asked_again(self) -> None:
        server = self.server("--max_queued_events=10")
        client = self.client(server.target, write_timeout=support.PATIENCE)

        def work(name: str) -> None:
            for n in range(20):
                client.rate_many(factord.Rating(name, f"{name}-{n}-{i}", 3) for i in range(10))

        for worker in [self.thread(work, f"w{w}") for w in range(8)]:
            worker.finish()
        server.terminate()
        items = [event["item_id"] for event in server.log()]
        self.assertEqual((len(items), len(set(items))), (1600, 1600))


class OptionsTest(support.ServerTestCase):
    # Symptoms: letters were denied and predicted for; the others were errors that named no argument.
    def test_the_error_of_an_argument_names_it(self) -> None:
        anything: Any = self.client("127.0.0.1:1", read_timeout=0.1, write_timeout=0.1)
        rating: Any = factord.Rating
        good = factord.Rating("u", "i", 3)
        calls: list[tuple[type[Exception], str, Callable[[], Any]]] = [
            (TypeError, "deny: ", lambda: anything.recommend("u", deny="Vertigo")),
            (TypeError, "deny: ", lambda: anything.recommend("u", deny=7)),
            (TypeError, r"deny\[1\]: ", lambda: anything.recommend("u", deny=["i", 7])),
            (TypeError, "user: ", lambda: anything.recommend(15)),
            (TypeError, "max_items: ", lambda: anything.recommend("u", 1.5)),
            (ValueError, "max_items: .* 32 bits", lambda: anything.recommend("u", 10**10)),
            (ValueError, "min_sequence: .* 64", lambda: anything.recommend("u", min_sequence=2**63)),
            (TypeError, "exclude_rated: ", lambda: anything.recommend("u", 5, "Vertigo")),
            (TypeError, "strict: ", lambda: anything.predict([], strict="no")),
            (TypeError, "pairs: ", lambda: anything.predict("ab")),
            (TypeError, r"pairs\[0\]: .*'ab'", lambda: anything.predict(["ab"])),
            (TypeError, r"pairs\[1\]: ", lambda: anything.predict([("a", "b"), ("a", "b", "c")])),
            (TypeError, r"pairs\[0\]\[1\]: ", lambda: anything.predict([("a", 7)])),
            (TypeError, "min_sequence: ", lambda: anything.predict([], min_sequence="7")),
            (TypeError, "^user: must be a str, not int$", lambda: anything.rate(15, "i", 3)),
            (TypeError, "^item: must be a str, not bytes$", lambda: anything.rate("u", b"i", 3)),
            (ValueError, "^item: ", lambda: anything.rate("u", "\ud800", 3)),
            (TypeError, "^rating: must be a number", lambda: anything.rate("u", "i", "5")),
            (TypeError, "^rating: ", lambda: anything.rate("u", "i", None)),
            (TypeError, "^event_time: ", lambda: anything.rate("u", "i", 3, event_time=1234)),
            (TypeError, "^event_id: ", lambda: anything.rate("u", "i", 3, event_id=7)),
            (TypeError, "^recommendation_id: ",
             lambda: anything.rate("u", "i", 3, recommendation_id=7)),
            (TypeError, r"ratings\[0\]: .*factord.Rating, not tuple",
             lambda: anything.rate_many([("u", "i", 3)])),
            (TypeError, r"ratings\[1\]\.rating: ",
             lambda: anything.rate_many([good, rating("u", "i", "5")])),
            (TypeError, "ratings: ", lambda: anything.rate_many(good)),
            (TypeError, r"ratings\[0\]: ", lambda: anything.stamp_event_ids([{"user": "u"}])),
            (ValueError, "side: ", lambda: anything.factors("item")),
            (TypeError, "page_size: ", lambda: anything.factors("items", "7")),
            (TypeError, "items_per_topic: ", lambda: anything.topics("7")),
            (TypeError, "name: ", lambda: anything.backup(7)),
            (TypeError, "service: ", lambda: anything.health(None)),
            (TypeError, "tls: ", lambda: factord.Client("localhost:1", tls=True)),  # type: ignore[arg-type]
            (ValueError, "max_response_bytes: ",
             lambda: factord.Client("localhost:1", max_response_bytes=0)),
        ]  # fmt: skip
        for n, (kind, message, call) in enumerate(calls):
            with self.assertRaisesRegex(kind, message, msg=f"call {n}"):
                call()
        # An error of the iterable is its own.
        with self.assertRaisesRegex(TypeError, "unsupported operand"):
            anything.rate_many(rating("u", "i", 1 + bad) for bad in [anything])

    def test_a_number_of_any_kind_is_a_rating(self) -> None:
        client = self.client(self.server().target)
        anything: Any = (True, Decimal("2.5"), Fraction(1, 2))
        client.rate_many([factord.Rating("u", "i", number) for number in anything])
        with self.assertRaises(factord.InvalidArgument):
            client.rate("u", "i", 10**400)
        self.assertEqual(client.model().sequence, 3)

    # Symptom: these waited for an answer until their time was over.
    def test_a_target_is_a_host_and_a_port(self) -> None:
        for target in ("", "localhost", "factord.example", "127.0.0.1", ":7070", "localhost:",
                       "localhost:0", "localhost:65536", "localhost:7070/", "localhost:port",
                       "http://localhost:7070", "https://localhost:7070", "grpc://localhost:7070",
                       "::1", "::1:7070", "[::1]", "[::1]:x", "local host:7070", " localhost:7070",
                       "localhost:7070\n", "localhost:-1", "localhost:+1", "localhost:٧"):  # fmt: skip
            with self.assertRaisesRegex(ValueError, "^target: must be HOST:PORT", msg=target):
                factord.Client(target)
        for target in ("localhost:1", "LOCALHOST:65535", "my_host-1.example:7070", "[::1]:7070",
                       "[fe80::1%eth0]:7070", "dns:///localhost:1", "dns://1.1.1.1/localhost:1",
                       "dns:localhost:1", "ipv4:127.0.0.1:1", "ipv4:127.0.0.1:1,127.0.0.2:1",
                       "ipv6:[::1]:1", "unix:/tmp/x", "unix:x", "unix:///tmp/x",
                       "unix-abstract:x"):  # fmt: skip
            factord.Client(target).close()
        anything: Any = 7070
        with self.assertRaisesRegex(TypeError, "^target: "):
            factord.Client(anything)
        with mock.patch.dict(os.environ, {"FACTORD_SERVER": "http://localhost:7070"}):
            with self.assertRaisesRegex(ValueError, "HOST:PORT, not 'http://localhost:7070'"):
                factord.Client.from_environment()

    # Symptom: 0 was the default, infinity an OverflowError, and nan no timeout.
    def test_timeouts_are_above_zero_and_finite(self) -> None:
        client: Any = self.client(self.server().target)
        calls: list[Callable[[Any], Any]] = [
            lambda timeout: client.model(timeout=timeout),
            lambda timeout: client.rate("u", "i", 3, timeout=timeout),
            lambda timeout: client.factors("items", timeout=timeout),
            lambda timeout: client.snapshot(timeout=timeout),
            lambda timeout: client.health(timeout=timeout),
        ]
        bad: list[Any] = [0, -1, math.inf, -math.inf, math.nan]
        for call in calls:
            for timeout in bad:
                with self.assertRaisesRegex(ValueError, "^timeout: must be above 0 and finite$"):
                    call(timeout)
            for timeout in ("5", timedelta(seconds=5)):
                with self.assertRaisesRegex(TypeError, "^timeout: must be a number, not "):
                    call(timeout)
            for timeout in (None, 60, 10**10, 1e300, Decimal(60)):
                call(timeout)
        for name in ("read_timeout", "write_timeout", "admin_timeout"):
            for timeout in bad:
                with self.assertRaisesRegex(ValueError, f"^{name}: must be above 0 and finite$"):
                    factord.Client("localhost:1", **{name: timeout})
            anything: Any = {name: "5"}
            with self.assertRaisesRegex(TypeError, f"^{name}: "):
                factord.Client("localhost:1", **anything)
        patient = self.client(client._target, read_timeout=1e10, write_timeout=1e10)
        self.assertEqual(patient.rate("u", "i", 3).sequence, patient.model().sequence)

    def test_a_token_goes_in_plain_text_to_this_machine_only(self) -> None:
        for target in ("localhost:1", "LocalHost:1", "127.0.0.1:1", "127.8.9.1:1", "[::1]:1",
        "ipv4:127.0.0.1:1",
                       "ipv6:[::1]:1", "dns:///localhost:1", "unix:/tmp/x"):  # fmt: skip
            factord.Client(target, token="t" * 16).close()
        for target in ("10.0.0.1:7070", "factord.example:7070", "127.0.0.1.example:1", "[::2]:1",
                       "localhost.example:1", "ipv4:127.0.0.1:1,10.0.0.1:1", "dns:///example:1",
                       "dns://localhost/example:1", "0.0.0.0:1"):  # fmt: skip
            factord.Client(target).close()
            factord.Client(target, token="t" * 16, tls=factord.Tls()).close()
            with self.assertRaisesRegex(ValueError, "^token: .* in plain text", msg=target):
                factord.Client(target, token="t" * 16)
            with self.assertRaisesRegex(ValueError, "^token_file: .* in plain text", msg=target):
                factord.Client(target, token_file="f")

    # Symptom: "emptytoken: a token has 16 to ...", which was the name of the file.
    def test_bad_options_are_refused(self) -> None:
        file = Path(self.folder(), "emptytoken")
        file.touch()
        bad: list[dict[str, Any]] = [
            {"token_file": str(file)},
            {"target": ""},
            {"read_timeout": 0},
            {"write_timeout": -1},
            {"admin_timeout": 0},
            {"token": ""},
            {"token": "with a space in it"},
            {"token": "\n" + "t" * 16},
            {"token": "t" * 16 + "\nt"},
            {"token": "\n"},
            {"token": "t" * 15},
            {"token": "t" * 257},
            {"token": "t" * 16, "token_file": "f"},
            {"tls": factord.Tls(cert_file="f")},
        ]
        for options in bad:
            name = next(iter(options)).replace("tls", "cert_file")
            with self.assertRaisesRegex(ValueError, f"^{name}[:,]", msg=str(options)):
                factord.Client(**options)
        with self.assertRaises(FileNotFoundError):
            factord.Client(token_file="/nowhere/token")
        with self.assertRaises(FileNotFoundError):
            factord.Client(tls=factord.Tls(ca_file="/nowhere/ca.pem"))

    def test_the_environment(self) -> None:
        with mock.patch.object(factord.Client, "__init__", return_value=None) as init:
            with mock.patch.dict(os.environ, clear=True):
                factord.Client.from_environment()
            init.assert_called_with("127.0.0.1:7070", tls=None, token=None)
            environment = {
                "FACTORD_SERVER": "h:1",
                "FACTORD_TOKEN": "secret \r\n",
                "FACTORD_CA_FILE": "ca.pem",
            }
            with mock.patch.dict(os.environ, environment):
                factord.Client.from_environment()
            init.assert_called_with("h:1", tls=factord.Tls(ca_file="ca.pem"), token="secret")


if __name__ == "__main__":
    unittest.main()
