#!/usr/bin/python3
"""What can be known of the image without building it (tools/build_image.sh builds and runs it)."""

import os
import re
import subprocess
import tempfile
import unittest

import deploy_files as files

DOCKERFILE = (files.ROOT / "Dockerfile").read_text().replace("\\\n", " ")
LAST_STAGE = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[-1]
# In every Debian image; their versions move with it.
IN_THE_BASE = {"libc6", "libgcc-s1", "libstdc++6"}


def packages_of(*binaries):
    """The packages of the libraries that the binaries name themselves."""
    paths = set()
    for binary in binaries:
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", subprocess.run(
            ["readelf", "--dynamic", binary], check=True, capture_output=True, text=True).stdout)
        found = subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout
        paths |= {os.path.realpath(path) for name, path in re.findall(r"(\S+) => (\S+)", found)
                  if name in needed}
    # Debian's database has some of them below /usr/lib and some below /lib.
    owners = subprocess.run(
        ["dpkg-query", "--search", *paths, *(path.removeprefix("/usr") for path in paths)],
        capture_output=True, text=True).stdout
    owner = {path.removeprefix("/usr"): package
             for package, path in re.findall(r"^([^:]+):\S* (\S+)$", owners, re.MULTILINE)}
    return {owner[path.removeprefix("/usr")] for path in paths}


class Image(unittest.TestCase):
    def test_the_libraries_are_those_of_the_binaries(self):
        files.need("readelf", "binutils")
        listed = set(re.findall(r"\blib[\w+.-]+", re.search(
            r"apt-get install (.*?)&&", LAST_STAGE, re.DOTALL).group(1)))
        self.assertEqual(listed, packages_of(files.FACTORD, files.FACTORCTL) - IN_THE_BASE)

    def test_settings_are_flags(self):
        self.assertEqual(files.unknown_settings(files.image_environment()), [])

    def test_ports(self):
        self.assertEqual([int(port) for port in re.search(r"^EXPOSE (.*)$", LAST_STAGE, re.M).group(1).split()],
                         list(files.PORTS.values()))
        self.assertRegex(LAST_STAGE, rf'CMD \["factorctl", "health", "--server=127.0.0.1:{files.PORTS["health"]}", '
                                     r'"--service=factord.v1.RecommendationService"\]')

    def test_user(self):
        self.assertRegex(LAST_STAGE, rf"(?m)^USER {files.UID}:{files.UID}$")

    def test_version(self):
        version = re.search(r"project\(factord VERSION ([\d.]+)", (files.ROOT / "CMakeLists.txt").read_text()).group(1)
        self.assertRegex(LAST_STAGE, rf"(?m)^ARG VERSION={re.escape(version)}$")

    def test_unsecured_it_refuses_to_start(self):
        with tempfile.TemporaryDirectory() as folder:
            settings = files.image_environment() | {"FACTORD_DATA_DIR": f"{folder}/data", "FACTORD_BACKUP_DIR": ""}
            run = subprocess.run([files.FACTORD], env=settings, capture_output=True, text=True, timeout=60)
            self.assertEqual(run.returncode, 2, run.stderr)
            self.assertIn("--allow_plaintext", run.stderr)
            self.assertIn("--allow_anonymous", run.stderr)
            self.assertFalse(os.path.exists(f"{folder}/data"))


if __name__ == "__main__":
    files.main()
