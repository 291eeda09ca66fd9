"""Builds the package as pip does, without a network, and installs it where the other tests find it.

package_test.py FOLDER: the wheel goes to FOLDER/dist, the installed package to FOLDER/site.
Exit code 77: something that the build needs is not installed (ctest counts the test as skipped).
"""

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MESSAGES = (
    "_wire",
    "v1/admin_service",
    "v1/model_service",
    "v1/rating",
    "v1/rating_service",
    "v1/recommendation_service",
)


def pip(*arguments: str) -> None:
    offline = ["--no-index", "--no-deps", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", *arguments, *offline], check=True)


def main() -> None:
    for module in ("grpc", "google.protobuf", "pip", "setuptools", "wheel"):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            print(f"skipped: no {module} (tools/install_deps.sh --python installs it)")
            sys.exit(77)
    folder = Path(sys.argv[1])
    dist, site = folder / "dist", folder / "site"
    for old in (dist, site):
        shutil.rmtree(old, ignore_errors=True)

    # From a source distribution, which must hold all that the build needs. In a copy, because
    # setuptools leaves its things in the source folder.
    with tempfile.TemporaryDirectory(prefix="factord-test-") as copy:
        ignored = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__")
        shutil.copytree(ROOT / "python", copy, dirs_exist_ok=True, ignore=ignored)
        sdist = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(dist)]
        subprocess.run(sdist, cwd=copy, check=True)
    [source] = dist.glob("factord-*.tar.gz")
    pip("wheel", str(source), "--no-build-isolation", "--wheel-dir", str(dist))
    [wheel] = dist.glob("factord-*-py3-none-any.whl")

    names = set(zipfile.ZipFile(wheel).namelist())
    generated = {f"factord/{name}_pb2.{kind}" for name in MESSAGES for kind in ("py", "pyi")}
    written = {
        str(file.relative_to(ROOT / "python")) for file in (ROOT / "python/factord").rglob("*.py")
    }
    expected = generated | written | {"factord/py.typed"}
    assert {name for name in names if ".dist-info/" not in name} == expected, names
    assert any(name.endswith("dist-info/LICENSE") for name in names), names
    version = re.search(r"project\(factord VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())
    assert version is not None
    assert wheel.name.split("-")[1] == version[1], f"{wheel.name} is not version {version[1]}"

    pip("install", str(wheel), "--target", str(site))
    program = "import factord, sys; print(factord.__file__)"
    environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"}
    imported = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert imported.strip() == str(site / "factord/__init__.py"), imported
    print(f"built {wheel.name}")


if __name__ == "__main__":
    main()
