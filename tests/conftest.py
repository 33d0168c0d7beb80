from tests.support.distribution import distribution
from tests.support.etcd import etcd

__all__ = ["distribution", "etcd"]  # fixtures for all tests
