"""A factord process for the tests of deploy/, with every listener on a port of its own."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import deploy_files as files


def make_certs(folder, *arguments):
    subprocess.run([files.DEPLOY / "make_certs.sh", f"--dir={folder}", *arguments], check=True, capture_output=True)


def compose_settings(secrets):
    """The environment of the compose file, with its mounts where the files really are."""
    service = files.load("deploy/compose.yaml")["services"]["factord"]
    settings = dict(service["environment"])
    for mount in service["volumes"]:
        source, target = mount.split(":")[:2]
        for variable, value in settings.items():
            settings[variable] = value.replace(target + "/", source.replace("./secrets", secrets) + "/")
    return settings


class Server:
    """Runs while the `with` block does. `settings` are FACTORD_ variables."""

    def __init__(self, **settings):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = self._folder.name
        self._port_file = f"{self.folder}/ports"
        self._settings = {
            "FACTORD_DATA_DIR": f"{self.folder}/data",
            "FACTORD_LISTEN": "127.0.0.1:0",
            "FACTORD_METRICS_LISTEN": "127.0.0.1:0",
            "FACTORD_HEALTH_LISTEN": "127.0.0.1:0",
            "FACTORD_PORT_FILE": self._port_file,
        } | settings

    def __enter__(self):
        self.log = open(f"{self.folder}/log", "w+")
        self.process = subprocess.Popen([files.FACTORD], env=self._settings, stderr=self.log)
        deadline = time.monotonic() + 60
        while not os.path.exists(self._port_file):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise AssertionError("no port: " + Path(self.log.name).read_text())
            time.sleep(0.05)
        self.ports = self._read_ports()
        self.factorctl("health", "--service=factord.v1.RecommendationService", "--wait=60",
                       server=f"127.0.0.1:{self.ports['health']}")
        return self

    def _read_ports(self):
        """The first line is the API's port alone; the others have a name before it."""
        first, *others = Path(self._port_file).read_text().splitlines()
        return {"api": int(first)} | {line.split()[0]: int(line.split()[1]) for line in others}

    def factorctl(self, *arguments, server=None, check=True):
        run = subprocess.run([files.FACTORCTL, *arguments, f"--server={server or self.address()}"],
                             capture_output=True, text=True, timeout=90)
        if check and run.returncode != 0:
            raise AssertionError(run.stderr)
        return run

    def address(self):
        return f"localhost:{self.ports['api']}"

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(60)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        self.log.close()
        self._folder.cleanup()
