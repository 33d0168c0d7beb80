"""Fixtures for all tests; and hypothesis without time limits: an example takes as long as the machine lets it."""

import gc

import pytest
from hypothesis import HealthCheck, settings

from tests.support.distribution import distribution
from tests.support.etcd import etcd
from tests.support.folders import disk_path, use_memory

__all__ = ["disk_path", "distribution", "etcd"]

settings.register_profile("pykbroker", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pykbroker")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr == "not slow":  # as in scripts/check, and first in scripts/test
        use_memory()


def pytest_collection_finish() -> None:
    """Leave the tests themselves, some hundred thousand objects, out of every garbage collection from now on."""
    gc.collect()
    gc.freeze()
