"""Fixtures for all tests; and hypothesis without time limits: an example takes as long as the machine lets it."""

from hypothesis import HealthCheck, settings

from tests.support.distribution import distribution
from tests.support.etcd import etcd

__all__ = ["distribution", "etcd"]

settings.register_profile("pykbroker", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pykbroker")
