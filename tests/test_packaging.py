"""What is published: the sdist has what its tests need, the wheel works in an empty virtual environment."""

import json
import re
import subprocess
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer

from tests.support.background import Background
from tests.support.distribution import REPOSITORY, Distribution

pytestmark = [pytest.mark.slow, pytest.mark.parallel, pytest.mark.xdist_group("packaging")]

# Imports everything that is installed and prints what was missing: {module: package}.
IMPORT_ALL = """
import importlib, json, pkgutil
import pykbroker, wire

missing = {}
for package in (pykbroker, wire):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", onerror=lambda name: None):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                missing[module.name] = error.name.partition(".")[0]
print(json.dumps(missing))
"""


def test_sdist_has_every_file_of_the_repository(distribution: Distribution) -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("this is no git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    tracked = {name for name in listed.stdout.splitlines() if (REPOSITORY / name).exists()}
    with tarfile.open(distribution.sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked - packed == set()
    assert not {name for name in packed if name.startswith((".venv", "dist/", ".git/"))}


def test_wheel_has_the_packages_and_says_what_they_are(distribution: Distribution) -> None:
    with zipfile.ZipFile(distribution.wheel) as archive:
        names = archive.namelist()
        (metadata_name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(metadata_name).decode())
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"pykbroker", "wire"}
    source = {str(path.relative_to(REPOSITORY)) for package in ("pykbroker", "wire") for path in sources(package)}
    assert source - set(names) == set()
    assert {"pykbroker/py.typed", "wire/py.typed"} <= set(names)
    assert metadata["Name"] == "pykbroker"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def sources(package: str) -> list[Path]:
    return [path for path in (REPOSITORY / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_wheel_in_an_empty_environment_has_all_it_needs(distribution: Distribution, tmp_path: Path) -> None:
    programs = distribution.install(tmp_path / "venv")
    imported = subprocess.run(
        [programs / "python", "-c", IMPORT_ALL], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    missing = set(json.loads(imported.stdout).values())
    assert missing <= packages_of_extras(distribution), imported.stdout

    command = [programs / "pykbroker", "start", "--ephemeral", "--port", "0"]
    with Background(command, cwd=tmp_path, environment={"PATH": str(programs)}) as broker:
        bootstrap = broker.wait_for("accepts clients on ").split()[-1]
        with KafkaProducer(bootstrap_servers=bootstrap, compression_type="gzip") as producer:
            producer.send("greetings", b"hello").get(timeout=30)
        consumer = KafkaConsumer("greetings", bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        assert next(consumer).value == b"hello"
        consumer.close()


def packages_of_extras(distribution: Distribution) -> set[str]:
    """Return the names by which what only extras install is imported."""
    with zipfile.ZipFile(distribution.wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        required = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])
    extras = [each for each in required if "extra ==" in each]
    return {re.split(r"[^\w.-]", each)[0].replace("-", "_").lower() for each in extras}
