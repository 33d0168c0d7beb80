"""What is published: the sdist and the wheel of this checkout, built once for all tests of a pytest process.

The fixture `distribution` is known to all tests by tests/conftest.py.
"""

import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import attrs
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@attrs.frozen
class Distribution:
    sdist: Path
    wheel: Path

    def unpack(self, folder: Path) -> Path:
        """Unpack the sdist and return the folder that is in it."""
        with tarfile.open(self.sdist) as archive:
            archive.extractall(folder, filter="data")
        return folder / self.sdist.name.removesuffix(".tar.gz")

    def install(self, folder: Path) -> Path:
        """Install the wheel into a new virtual environment, and nothing but what it asks for; return its `bin`."""
        venv.create(folder, with_pip=False, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", f"--python={folder}/bin/python"]
        subprocess.run([*pip, "install", "--quiet", self.wheel], check=True, capture_output=True)
        return folder / "bin"


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Distribution(sdist, wheel)
