"""The channel to the server, which follows the files of certificates."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import grpc

from factord._token import file_version

# How often the files are looked at, at the most.
LOOK_SECONDS = 10.0


class Channels:
    """The channel that `make` makes, and another one when `files` have changed. Thread-safe.

    gRPC reads certificates once a channel. What is under way on a former one goes on there.
    """

    def __init__(self, make: Callable[[], grpc.Channel], files: Sequence[str]) -> None:
        self._make = make
        self._files = files
        self._lock = threading.Lock()
        self._versions = self._look()
        self._channels = [make()]
        self._next_look = time.monotonic() + LOOK_SECONDS

    def current(self) -> grpc.Channel:
        with self._lock:
            if self._files and time.monotonic() >= self._next_look:
                self._next_look = time.monotonic() + LOOK_SECONDS
                try:
                    versions = self._look()
                    if versions != self._versions:
                        self._channels.append(self._make())
                        self._versions = versions
                except (OSError, ValueError):
                    pass  # while they are being replaced the former ones are as good as any
            return self._channels[-1]

    def close(self) -> None:
        with self._lock:
            self._files = ()
            channels = list(self._channels)
        for channel in channels:
            channel.close()

    def _look(self) -> list[tuple[int, int, int]]:
        return [file_version(file) for file in self._files]
