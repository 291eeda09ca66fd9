"""Runs docs/python.md: every shell and Python block, in their order, as a reader would.

They run in a folder that looks like the repository, against a port of the test's own. A comment
behind a print is a line of its output; "..." stands for anything.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import unittest
from pathlib import Path

import support

BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```$",
    (support.ROOT / "docs/python.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


def lay_out(folder: Path) -> None:
    """Makes what the blocks need."""
    ignored = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(support.ROOT / "python", folder / "python", ignore=ignored)
    (folder / "data").symlink_to(support.ROOT / "data")
    for entry in support.ROOT.iterdir():  # what the blocks write must find another place
        if entry.is_dir() and not (folder / entry.name).exists() and entry.name != "build":
            (folder / entry.name).mkdir()
            (folder / entry.name / "taken").touch()
    (folder / "build/release/server").mkdir(parents=True)
    (folder / "build/release/server/factord").symlink_to(support.FACTORD)
    (folder / "tls").mkdir()
    support.Authority(str(folder / "tls"))  # ca.pem
    (folder / "tls/token").write_text("t" * 16)


def to_script(port: int) -> str:
    """All blocks as one; the output of each Python block is in a file of its own."""
    script = ["set -eux"]
    for index, (language, block) in enumerate(BLOCKS):
        if language == "sh":
            script.append(block.replace("7070", str(port)))
        else:
            assert language == "python", language
            script.append(f"python3 - <<'END' >output{index}\n{block}END")
    return "\n".join(script)


class QuickstartTest(support.ServerTestCase):
    def test_every_block_runs(self) -> None:
        folder = Path(self.folder())
        lay_out(folder)
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", to_script(self.server(start=False).port)],
                cwd=folder,
                env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            code = process.wait(300)
        finally:
            with contextlib.suppress(ProcessLookupError):  # it ended before it left a server behind
                os.killpg(process.pid, signal.SIGKILL)
        self.assertEqual(code, 0, (folder / "log").read_text())

        for index, (language, block) in enumerate(BLOCKS):
            expected = re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE)
            if not expected:
                continue
            lines = [re.escape(line).replace(re.escape("..."), ".*") for line in expected]
            pattern = "".join(f"(.*\\n)?{line}\\n" for line in lines)
            output = (folder / f"output{index}").read_text()
            self.assertIsNotNone(re.match(pattern, output, re.DOTALL), f"{output}\n{expected}")


if __name__ == "__main__":
    unittest.main()
