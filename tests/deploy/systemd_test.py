#!/usr/bin/python3
"""The systemd unit: what systemd itself says of it, and that it fits the server."""

import re
import shutil
import subprocess
import tempfile
import unittest

import deploy_files as files

UNIT = files.DEPLOY / "systemd/factord.service"


def values(key):
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def settings():
    return dict(line.split("=", 1) for line in values("Environment"))


class Systemd(unittest.TestCase):
    def test_settings_are_flags(self):
        self.assertEqual(files.unknown_settings(settings()), [])
        self.assertEqual(settings()["FACTORD_REFLECTION"], "false")

    def test_credentials_are_those_that_are_read(self):
        loaded = {line.split(":")[0] for line in values("LoadCredential")}
        read = {value.removeprefix("%d/") for value in settings().values() if value.startswith("%d/")}
        self.assertEqual(read, loaded)

    def test_the_documentation_is_what_is_installed(self):
        (prefix,) = re.findall(r"cmake --install \S+ --prefix (\S+)", UNIT.read_text())
        self.assertEqual(values("Documentation"), [f"file://{prefix}/share/doc/factord/operations.md"])
        self.assertEqual(values("ExecStart"), [f"{prefix}/bin/factord"])

    def test_stopping_outlasts_the_drain(self):
        self.assertGreaterEqual(files.seconds(values("TimeoutStopSec")[0]),
                                files.seconds(settings()["FACTORD_DRAIN_TIMEOUT"]) + 15)

    def test_exit_codes(self):
        """No restart where a restart cannot help; a drain that was cut short is no failure."""
        codes = dict(re.findall(r"(kExit\w+) = (\d+)", (files.ROOT / "server/exit_codes.h").read_text()))
        self.assertEqual(values("RestartPreventExitStatus")[0].split(),
                         [codes["kExitUsage"], codes["kExitDataRefused"], codes["kExitDataLoss"]])
        self.assertEqual(values("SuccessExitStatus"), [codes["kExitDrainTimeout"]])

    @unittest.skipUnless(shutil.which("systemd-analyze"), "no systemd-analyze")
    def test_systemd_takes_it(self):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/factord.service"
            with open(path, "w") as unit:  # the binary has to exist
                unit.write(UNIT.read_text().replace("/usr/local/bin/factord", files.FACTORD))
            verify = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path],
                                    capture_output=True, text=True)
            self.assertEqual((verify.returncode, verify.stdout + verify.stderr), (0, ""))
            security = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=15", path],
                                      capture_output=True, text=True)
            self.assertEqual(security.returncode, 0, security.stdout[-200:])


if __name__ == "__main__":
    files.main()
