"""What the tests of deploy/ share: where things are, and how to read them."""

import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

SKIPPED = 77  # ctest counts it as skipped

try:
    import yaml
except ImportError:
    print("skipped: no yaml module (tools/install_deps.sh --python installs it)")
    sys.exit(SKIPPED)

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

# The binaries under test; CMake sets these.
FACTORD = os.environ.get("FACTORD_BINARY", str(ROOT / "build/release/server/factord"))
FACTORCTL = os.environ.get("FACTORCTL_BINARY", str(ROOT / "build/release/factorctl/factorctl"))

# Of an idle connection with TLS, and of a call with the longest headers (docs/security.md has the tests
# that measure them). Three thousand calls that are refused may wait to be told so, and each of the two ports may have 1,500
# calls of health.
CONNECTION_BYTES = 74_000
CALL_BYTES = 33_000
UNCOUNTED_CALLS = 6_000
# So many that do nothing shall leave room for others (AbuseTest).
IDLE_CONNECTIONS = 10_000

PORTS = {"api": 7070, "metrics": 7071, "health": 7072}
UID = 10001


def load(path):
    return yaml.safe_load((ROOT / path).read_text())


def flags():
    """The names of all flags of the binary."""
    text = subprocess.run([FACTORD, "--help"], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"^  --(\w+)", text, re.MULTILINE))


def unknown_settings(environment):
    """The FACTORD_ variables that are no flag of the binary."""
    known = flags()
    return sorted(name for name in environment
                  if name.startswith("FACTORD_") and name.removeprefix("FACTORD_").lower() not in known)


def image_environment():
    """ENV of the Dockerfile's last stage."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    last_stage = re.split(r"^FROM ", text, flags=re.MULTILINE)[-1]
    variables = {}
    for line in re.findall(r"^ENV (.*)$", last_stage, re.MULTILINE):
        variables.update(word.split("=", 1) for word in line.split())
    return variables


def quantity(text):
    """In bytes, as Kubernetes (16Gi), Compose (2g) or factord (16GiB) writes it."""
    number, unit = re.fullmatch(r"(\d+)(?:([kmgt])(?:iB?)?)?", text, re.IGNORECASE).groups()
    return int(number) * 1024 ** " kmgt".index((unit or " ").lower())


def planned_memory(settings):
    """The bytes that factord may take with these settings, beside code, threads and RocksDB's."""
    default = "256MiB"  # of the queue, and of answers
    return (quantity(settings["FACTORD_MEMORY_LIMIT"]) + quantity(settings["FACTORD_NETWORK_MEMORY_BYTES"]) +
            quantity(settings.get("FACTORD_MAX_QUEUED_BYTES", default)) +
            quantity(settings.get("FACTORD_MAX_UNREAD_ANSWER_BYTES", default)) +
            int(settings["FACTORD_MAX_CONNECTIONS"]) * CONNECTION_BYTES +
            (int(settings["FACTORD_MAX_CONCURRENT_CALLS"]) + UNCOUNTED_CALLS) * CALL_BYTES)


def seconds(duration):
    """Of "90s", "1m30s" or "2m"."""
    parts = re.findall(r"(\d+)(h|m|s)", duration)
    assert parts and "".join(n + u for n, u in parts) == duration, duration
    return sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)


def need(program, package):
    """Skips the test where `program` is not installed, and says so."""
    if not shutil.which(program):
        print(f"skipped: no {program} ({package})")
        raise unittest.SkipTest(f"no {program}")


def main():
    """Runs the tests of the program; its exit status tells of those that were skipped."""
    result = unittest.main(exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.skipped else 0)
