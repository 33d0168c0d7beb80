from tests.support.etcd import etcd

__all__ = ["etcd"]  # fixtures for all tests
