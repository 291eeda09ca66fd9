"""What the tests share: the real server as a process, and a proxy that loses what it answers."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

try:
    import factord
except ImportError as missing:
    print(f"skipped: {missing} (tools/install_deps.sh --python installs what the package needs)")
    sys.exit(77)

ROOT = Path(__file__).parents[2]
FACTORD = os.environ.get("FACTORD_BINARY", str(ROOT / "build/release/server/factord"))
FACTORCTL = os.environ.get("FACTORCTL_BINARY", str(ROOT / "build/release/factorctl/factorctl"))
PATIENCE = 60.0  # for what is certain to happen
NAIVE_TIME = datetime(2024, 2, 29)


def wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.005)


class Server:
    """A factord process that can be stopped and started again, with the same port."""

    def __init__(self, folder: str, *flags: str) -> None:
        self.data_dir = os.path.join(folder, "data")
        self.flags = flags
        self._output = os.path.join(folder, "output")
        # Bound and never listening, it keeps the port ours while the server is down.
        self._reservation = socket.socket()
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reservation.bind(("127.0.0.1", 0))
        self.port: int = self._reservation.getsockname()[1]
        self.target = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        port_file = self._output + ".port"
        Path(port_file).unlink(missing_ok=True)
        with open(self._output, "ab") as output:
            self._process = subprocess.Popen(
                [
                    FACTORD,
                    f"--data_dir={self.data_dir}",
                    f"--listen={self.target}",
                    f"--port_file={port_file}",
                    "--log_retention=all",
                    "--min_free_bytes=0",
                    *self.flags,
                ],
                stdout=output,
                stderr=output,
            )
        process = self._process
        wait_until(lambda: os.path.exists(port_file) or process.poll() is not None, "the port")
        assert process.poll() is None, self.output()
        return self

    def output(self) -> str:
        return Path(self._output).read_text()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL. Nothing happens when the server is down already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """SIGTERM."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(PATIENCE)
        self._process = None
        assert code == 0, f"exit code {code}: {self.output()}"

    def pause(self) -> None:
        """SIGSTOP, which takes effect some time after it was sent."""
        assert self._process is not None
        self.signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        self._reservation.close()

    def log(self) -> list[dict[str, Any]]:
        """The events in the data folder of the server, which must be down."""
        command = [FACTORCTL, "log", self.data_dir, "--json"]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        log = [json.loads(line) for line in lines.splitlines()]
        assert [event["sequence"] for event in log] == list(range(1, len(log) + 1))
        return log


class Proxy:
    """Passes bytes to a server and back, or loses what comes back."""

    def __init__(self, port: int) -> None:
        self.lose_replies = False
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def cut(self) -> None:
        """Ends all connections; the next ones get through."""
        with self._lock:
            for end in self._sockets:
                with contextlib.suppress(OSError):  # it has ended already
                    end.shutdown(socket.SHUT_RDWR)
            for thread in self._threads:
                thread.join()
            for end in self._sockets:
                end.close()
            self._sockets.clear()
            self._threads.clear()
            self.lose_replies = False

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client = self._listener.accept()[0]
                server = socket.socket()
                with self._lock:
                    self._sockets += [client, server]
                    server.connect(("127.0.0.1", self._port))
                    for arguments in ((client, server, False), (server, client, True)):
                        thread = threading.Thread(target=self._pass, args=arguments, daemon=True)
                        thread.start()
                        self._threads.append(thread)

    def _pass(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):  # cut
            while data := source.recv(1 << 16):
                if not (replies and self.lose_replies):
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


class Authority:
    """A CA that signs certificates with the openssl program."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.ca_file = self._request("ca", "-x509", "-days", "1")[0]

    def issue(self, name: str, alternative_names: str = "") -> tuple[str, str]:
        """The files of a certificate and its key."""
        extensions = ["-addext", f"subjectAltName={alternative_names}"] if alternative_names else []
        signed_by = ["-CA", self.ca_file, "-CAkey", f"{self._folder}/ca.key", "-days", "1"]
        return self._request(name, "-x509", *signed_by, *extensions)

    def _request(self, name: str, *arguments: str) -> tuple[str, str]:
        certificate, key = f"{self._folder}/{name}.pem", f"{self._folder}/{name}.key"
        command = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-nodes", "-subj", f"/CN={name}", "-out", certificate, "-keyout", key]
        subprocess.run([*command, *arguments], check=True, capture_output=True)
        return certificate, key


class ServerTestCase(unittest.TestCase):
    """Starts servers that end with the test."""

    def folder(self) -> str:
        folder = tempfile.TemporaryDirectory(prefix="factord-test-")
        self.addCleanup(folder.cleanup)
        return folder.name

    def server(self, *flags: str, start: bool = True) -> Server:
        server = Server(self.folder(), *flags)
        self.addCleanup(server.close)
        if start:
            server.start()
        return server

    def proxy(self, server: Server) -> Proxy:
        proxy = Proxy(server.port)
        self.addCleanup(proxy.close)
        return proxy

    def client(self, target: str, **options: Any) -> factord.Client:
        client = factord.Client(target, **options)
        self.addCleanup(client.close)
        return client

    def thread(self, target: Any, *args: Any) -> Thread:
        thread = Thread(target, args)
        thread.start()
        return thread


def in_a_fork(function: Callable[[], str]) -> str:
    """What `function` returns in a child process, or the error that it raises there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                answer = function()
            except Exception as error:
                answer = f"{type(error).__name__}: {error}"
            os.write(writing, answer.encode())
        finally:
            os._exit(0)  # nothing of the test may go on here
    os.close(writing)
    with open(reading, encoding="utf-8") as end:
        ready, _, _ = select.select([end], [], [], PATIENCE)
        if not ready:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert ready, "the child hangs"
        return end.read()


class Thread(threading.Thread):
    """Raises in finish() what its function raised; there it gives its result, too."""

    def __init__(self, function: Any, arguments: tuple[Any, ...]) -> None:
        super().__init__(daemon=True)
        self._function, self._arguments = function, arguments
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._function(*self._arguments)
        except BaseException as error:
            self._error = error

    def finish(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive(), "the thread hangs"
        if self._error is not None:
            raise self._error
        return self._result
