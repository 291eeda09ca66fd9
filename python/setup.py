"""What pyproject.toml cannot say: the build makes the messages from proto/ with protoc."""

import re
import subprocess
import sys
from pathlib import Path

import setuptools
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent.resolve()


def find_protoc() -> list[str]:
    """The first that can write type stubs (3.20, February 2022): grpcio-tools', or on the PATH."""
    for command in ([sys.executable, "-m", "grpc_tools.protoc"], ["protoc"]):
        try:
            answer = subprocess.run([*command, "--version"], capture_output=True, text=True)
        except FileNotFoundError:
            continue
        version = re.search(r"libprotoc (?:3\.)?(\d+)\.\d+", answer.stdout)
        if version and int(version[1]) >= 20:
            return command
    sys.exit("setup.py: needs grpcio-tools >= 1.51 or protoc >= 3.20 (Debian: protobuf-compiler)")


class BuildWithMessages(build_py):
    def run(self) -> None:
        super().run()
        protos = [HERE / "factord/_wire.proto", *(HERE / "proto").glob("factord/v1/*.proto")]
        if len(protos) == 1:
            sys.exit("setup.py: no messages in proto/, which is a link to that of the repository")
        command = [*find_protoc(), f"-I{HERE / 'proto'}", f"-I{HERE}"]
        command += [f"--python_out={self.build_lib}", f"--pyi_out={self.build_lib}"]
        subprocess.run([*command, *map(str, protos)], check=True)


setuptools.setup(cmdclass={"build_py": BuildWithMessages})
