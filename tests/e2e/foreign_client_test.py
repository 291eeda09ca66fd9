#!/usr/bin/python3
"""A gRPC client that is not ours, Debian's grpcio, against the real server and a real SIGKILL.

It knows the protos alone (protoc makes the messages when the test starts). It records, streams,
recommends and predicts; then it does so while the server is killed at random instants, and checks
against the log that everything acknowledged is there, once.

  foreign_client_test.py --factord=BINARY --factorctl=BINARY --proto=FOLDER... [--kills=N] [--seed=N]

Exit code 77: Debian's grpcio or protobuf is not installed (ctest counts the test as skipped).
"""

import argparse
import json
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

try:
    import google.protobuf  # noqa: F401
    import grpc
except ImportError as missing:
    print(f"skipped: {missing} (tools/install_deps.sh --python installs it)")
    sys.exit(77)

args = None
pb = None  # the message modules


class Messages:
    """The generated modules by service file."""

    def __init__(self, folder):
        protos = ["rating", "rating_service", "recommendation_service", "model_service", "admin_service"]
        includes = [f"-I{path}" for path in args.proto]
        files = [f"factord/v1/{name}.proto" for name in protos] + [
            "google/rpc/status.proto", "google/rpc/error_details.proto"]
        subprocess.run(["protoc", *includes, f"--python_out={folder}", *files], check=True)
        sys.path.insert(0, folder)
        from factord.v1 import (admin_service_pb2, model_service_pb2, rating_pb2,
                                rating_service_pb2, recommendation_service_pb2)
        self.rating, self.ratings = rating_pb2, rating_service_pb2
        self.recommendations, self.model = recommendation_service_pb2, model_service_pb2
        self.admin = admin_service_pb2
        # google.rpc is a namespace package that Debian's google package may shadow.
        import google
        google.__path__.append(os.path.join(folder, "google"))
        from google.rpc import error_details_pb2, status_pb2
        self.details, self.status = error_details_pb2, status_pb2


class Server:
    """A factord process on a free port."""

    def __init__(self, folder, *flags):
        self.folder = folder
        self.flags = flags
        self.process = None

    def start(self):
        port_file = self.folder + ".port"
        if os.path.exists(port_file):
            os.unlink(port_file)
        self.process = subprocess.Popen(
            [args.factord, f"--data_dir={self.folder}", "--listen=127.0.0.1:0",
             f"--port_file={port_file}", "--snapshot_log_bytes=40000", "--min_free_bytes=0",
             *self.flags], stdout=subprocess.DEVNULL, stderr=open(self.folder + ".log", "a"))
        deadline = time.monotonic() + 60
        while not os.path.exists(port_file):
            assert self.process.poll() is None, open(self.folder + ".log").read()
            assert time.monotonic() < deadline, "no port file"
            time.sleep(0.005)
        return Client(int(open(port_file).read()))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        assert code == 0, f"exit code {code}"


class Client:
    def __init__(self, port):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def call(self, service, method, request, response, timeout=30, wait=True):
        stub = self.channel.unary_unary(f"/factord.v1.{service}/{method}",
                                        request_serializer=type(request).SerializeToString,
                                        response_deserializer=response.FromString)
        return stub(request, timeout=timeout, wait_for_ready=wait)

    def record(self, events, **kwargs):
        return self.call("RatingService", "RecordRatings",
                         pb.ratings.RecordRatingsRequest(events=events),
                         pb.ratings.RecordRatingsResponse, **kwargs)

    def wait_until_serving(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                return self.call("ModelService", "GetModel", pb.model.GetModelRequest(),
                                 pb.model.GetModelResponse)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                assert time.monotonic() < deadline, error
                time.sleep(0.01)

    def stream(self, requests):
        stub = self.channel.stream_stream(
            "/factord.v1.RatingService/StreamRatings",
            request_serializer=pb.ratings.StreamRatingsRequest.SerializeToString,
            response_deserializer=pb.ratings.StreamRatingsResponse.FromString)
        return stub(requests, timeout=60)

    def recommend(self, user, **fields):
        return self.call("RecommendationService", "RecommendItems",
                         pb.recommendations.RecommendItemsRequest(user_id=user, **fields),
                         pb.recommendations.RecommendItemsResponse)

    def hash(self):
        answer = self.call("AdminService", "ComputeHash", pb.admin.ComputeHashRequest(),
                           pb.admin.ComputeHashResponse)
        return answer.sequence, answer.hash


def rating(rng, event_id=""):
    return pb.rating.Rating(user_id=f"u{rng.randrange(40)}", item_id=f"i{rng.randrange(60)}",
                            rating=rng.randrange(1, 11) / 2, event_id=event_id)


def log_of(folder):
    lines = subprocess.run([args.factorctl, "log", folder, "--json"], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def verify(folder):
    result = subprocess.run([args.factorctl, "verify", folder, "--json"], capture_output=True,
                            text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout)


def test_every_call(root, rng):
    """Records, streams, recommends, predicts, and is told what is wrong with a request."""
    server = Server(os.path.join(root, "calls"), "--log_retention=all")
    client = server.start()
    client.wait_until_serving()

#Read your writes : the item just rated never comes, and the new factors are those that score.
    for i in range(100):
        event = rating(rng, f"a{i}")
        known = client.recommend(event.user_id, include_user_factors=True)
        answer = client.record([event])
        assert answer.last_sequence == i + 1, answer
        after = client.recommend(event.user_id, max_items=1000, include_user_factors=True)
        assert event.item_id not in [item.item_id for item in after.items]
        assert after.sequence >= answer.last_sequence and not after.cold_start
        assert list(after.user_factors) != list(known.user_factors)

    before = client.hash()
    duplicate = client.record([pb.rating.Rating(user_id="d", item_id="d", rating=1, event_id="x")])
    again = client.record([pb.rating.Rating(user_id="d", item_id="d", rating=1, event_id="x")])
    assert again.results[0].outcome == pb.ratings.RatingResult.OUTCOME_DUPLICATE
    assert again.last_sequence == duplicate.last_sequence == before[0] + 1
    before = client.hash()
    try:
        client.record([pb.rating.Rating(user_id="", item_id="i", rating=float("nan")),
                       pb.rating.Rating(user_id="u", item_id="i" * 257)], wait=False)
        raise AssertionError("accepted")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        details = dict(error.trailing_metadata())["grpc-status-details-bin"]
        bad = pb.details.BadRequest()
        assert pb.status.Status.FromString(details).details[0].Unpack(bad)
        fields = {violation.field for violation in bad.field_violations}
        assert fields == {"events[0].user_id", "events[0].rating", "events[1].item_id",
                          "events[1].rating"}, fields
    assert client.hash() == before

#A stream : started, then cumulative acknowledgements.
    batches = queue.SimpleQueue()
    answers = client.stream(iter(batches.get, None))
    start = pb.ratings.StreamStart(producer_id="python")
    batches.put(pb.ratings.StreamRatingsRequest(start=start))
    started = next(answers).started
    assert started.last_number == 0 and started.window_events > 0, started
    for first in range(1, 1001, 100):
        batch = pb.ratings.StreamBatch(first_number=first, events=[rating(rng) for _ in range(100)])
        batches.put(pb.ratings.StreamRatingsRequest(batch=batch))
    acknowledged = 0
    while acknowledged < 1000:
        acknowledged = next(answers).ack.last_number
    batches.put(None)
    assert not list(answers)

    pairs = [pb.recommendations.UserItemPair(user_id="u1", item_id="i1"),
             pb.recommendations.UserItemPair(user_id="nobody", item_id="i1")]
    predictions = client.call("RecommendationService", "PredictRatings",
                              pb.recommendations.PredictRatingsRequest(pairs=pairs),
                              pb.recommendations.PredictRatingsResponse).predictions
    assert [p.cold_start for p in predictions] == [False, True]
    assert all(0 <= p.rating <= 5 for p in predictions)
    state = client.hash()
    server.stop()
    log = log_of(server.folder)
    assert [event["sequence"] for event in log] == list(range(1, state[0] + 1))
    assert verify(server.folder)["hash"] == state[1]


# What threads failed with: Python would only print it.
failures = []


def keep_failure(arguments):
    failures.append(arguments.exc_value)
    threading.__excepthook__(arguments)


threading.excepthook = keep_failure


class UnaryWriter:
    """A closed loop of unary writes. What has no answer is sent again to the next server, and so is the last
    event that has one."""

    def __init__(self, name, seed):
        self.name = name
        self.rng = random.Random(seed)
        self.events = 0
        self.unanswered = None
        self.acknowledged = []  # (event, sequence)

    def run(self, client, stop):
        try:
            if self.acknowledged:
                event, sequence = self.acknowledged[-1]
                result = client.record([event], wait=False).results[0]
                assert result.outcome == pb.ratings.RatingResult.OUTCOME_DUPLICATE, result
                assert result.sequence == sequence, result
            while not stop.is_set():
                if self.unanswered is None:
                    self.events += 1
                    self.unanswered = rating(self.rng, f"{self.name}-{self.events}")
                result = client.record([self.unanswered], wait=False).results[0]
                self.acknowledged.append((self.unanswered, result.sequence))
                self.unanswered = None
        except grpc.RpcError:
            pass


def write_stream(client, expected, acknowledged):
    """The stream producer: goes on where the server says. `acknowledged` is the largest number."""
    try:
        batches = queue.SimpleQueue()
        answers = client.stream(iter(batches.get, None))
        start = pb.ratings.StreamStart(producer_id="stream")
        batches.put(pb.ratings.StreamRatingsRequest(start=start))
        last = next(answers).started.last_number
        assert last >= acknowledged[0], f"{last} is behind the acknowledged {acknowledged[0]}"
        while True:
            events = [expected(n) for n in range(last + 1, last + 21)]
            batch = pb.ratings.StreamBatch(first_number=last + 1, events=events)
            batches.put(pb.ratings.StreamRatingsRequest(batch=batch))
            last += 20
            while acknowledged[0] < last:
                acknowledged[0] = max(acknowledged[0], next(answers).ack.last_number)
    except (grpc.RpcError, StopIteration):
        pass


def test_kills(root, rng):
    """SIGKILL at random instants under unary and stream writers: acknowledged = in the log, once."""
    server = Server(os.path.join(root, "kills"), "--log_retention=all")
    writers = [UnaryWriter(f"w{w}", w) for w in range(2)]
    stream_acknowledged = [0]
    stream_events = {}

    def expected(number):
        return stream_events.setdefault(number, rating(random.Random(number)))

    for _ in range(args.kills):
        client = server.start()
        client.wait_until_serving()
        stop = threading.Event()
        threads = [threading.Thread(target=writer.run, args=(client, stop)) for writer in writers]
        threads.append(threading.Thread(target=write_stream, args=(
            client, expected, stream_acknowledged)))
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.01, 0.4))  # the instant is the random quantity under test
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
        client.channel.close()
    assert not failures, failures
    log = log_of(server.folder)
    assert [event["sequence"] for event in log] == list(range(1, len(log) + 1))
    ids = [event["event_id"] for event in log if event["event_id"]]
    numbers = [event["producer_number"] for event in log if event["producer_id"]]
    assert len(ids) == len(set(ids)), "an event_id is in the log twice"
    for writer in writers:
        for event, sequence in writer.acknowledged:
            assert sequence <= len(log) and log[sequence - 1]["event_id"] == event.event_id, (
                "an acknowledged event is missing")
    assert numbers == list(range(1, len(numbers) + 1)), "the stream has a hole, or a double"
    assert len(numbers) >= stream_acknowledged[0], "an acknowledged stream event is missing"
    for event in log:
        if event["producer_id"]:
            sent = expected(event["producer_number"])
            assert (event["user_id"], event["item_id"], event["rating"]) == (
                sent.user_id, sent.item_id, sent.rating)
    unary_acknowledged = sum(len(writer.acknowledged) for writer in writers)
    assert unary_acknowledged > 0 and stream_acknowledged[0] > 0
    verified = verify(server.folder)
    print(f"kills {args.kills}, acknowledged {unary_acknowledged + stream_acknowledged[0]}, "
          f"logged {len(log)}, lost 0, doubled 0")

    return log, verified["hash"]


def replay(client, log):
    """Sends logged events again, in their order, each the way it came."""
    batches, answers = None, None
    for event in log:
        request = pb.rating.Rating(user_id=event["user_id"], item_id=event["item_id"],
                                   rating=event["rating"], event_id=event["event_id"])
        if not event["producer_id"]:
            client.record([request])
            continue
        if batches is None:
            batches = queue.SimpleQueue()
            answers = client.stream(iter(batches.get, None))
            start = pb.ratings.StreamStart(producer_id=event["producer_id"])
            batches.put(pb.ratings.StreamRatingsRequest(start=start))
            assert next(answers).started.last_number == event["producer_number"] - 1
        batch = pb.ratings.StreamBatch(first_number=event["producer_number"], events=[request])
        batches.put(pb.ratings.StreamRatingsRequest(batch=batch))
        assert next(answers).ack.last_number == event["producer_number"]
    if batches is not None:
        batches.put(None)


def test_trimming(root, log, expected_hash):
    """The same events in the same order, killed and trimmed on the way: the same hash."""
    server = Server(os.path.join(root, "trimming"), "--log_retention=snapshot")
    for part in range(3):
        client = server.start()
        client.wait_until_serving()
        replay(client, log[part * len(log) // 3:(part + 1) * len(log) // 3])
        client.call("AdminService", "CreateSnapshot", pb.admin.CreateSnapshotRequest(),
                    pb.admin.CreateSnapshotResponse)
        model = client.wait_until_serving()
        sequence, state = client.hash()
        if part < 2:
            server.kill()
        else:
            assert model.log_start_sequence > 1, "nothing was trimmed"
            server.stop()
        client.channel.close()
    assert (sequence, state) == (len(log), expected_hash), (sequence, state, expected_hash)


def main():
    global args, pb
    parser = argparse.ArgumentParser()
    parser.add_argument("--factord", required=True)
    parser.add_argument("--factorctl", required=True)
    parser.add_argument("--proto", action="append", required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    print(f"--seed={args.seed}", flush=True)
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory(prefix="factord-test-") as root:
        pb = Messages(os.path.join(root))
        test_every_call(root, rng)
        log, state = test_kills(root, rng)
        test_trimming(root, log, state)
    print("ok")


if __name__ == "__main__":
    main()
