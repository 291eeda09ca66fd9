"""Bearer tokens: where they come from, and where they may go."""

from __future__ import annotations

import os
import re
import threading


def goes_to_loopback(target: str) -> bool:
    """Whether what is sent to `target` in plain text stays on this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    address = re.sub(r"^(dns:(//[^/]*/)?|ipv[46]:)", "", target)
    # An address, or the one name for it: 127.evil.example is neither.
    loopback = r"(localhost|127(\.\d{1,3}){3}|\[::1\]|::1)(:\d+)?"
    return re.fullmatch(loopback, address, re.IGNORECASE) is not None


def check_token(token: str, source: str) -> str:
    if not re.fullmatch(r"[!-~]{16,256}", token):
        raise ValueError(f"{source}: a token has 16 to 256 visible ASCII characters")
    return token


def file_version(path: str) -> tuple[int, int, int]:
    """Tells one state of a file from another; a file that was replaced has another inode."""
    stat = os.stat(path)
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


class TokenFile:
    """The first word of a file. Read anew when the file has changed. Thread-safe."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._version = file_version(path)
        self._token = self._read()

    def token(self) -> str:
        with self._lock:
            try:
                version = file_version(self._path)
                if version != self._version:
                    self._token = self._read()
                    self._version = version
            except (OSError, ValueError):
                pass  # while it is being replaced the former token is as good as any
            return self._token

    def _read(self) -> str:
        with open(self._path, encoding="utf-8") as file:
            words = file.read().split(maxsplit=1)
        return check_token(words[0] if words else "", f"token_file: {self._path}")
