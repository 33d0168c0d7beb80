"""Fixtures for tests that need a Kafka. pytest loads this wherever pykbroker is installed.

    def test_orders(kafka, kafka_topic):
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
        ...

| fixture | scope | |
|---|---|---|
| `kafka` | session | one broker in a thread of the test process |
| `kafka_topic` | function | the name of a new topic with one partition in `kafka` |
| `kafka_cluster` | function | several brokers: `@pytest.mark.kafka_cluster(brokers=3, properties={...})` |
| `kafka_properties` | session | properties of all these brokers, for a project to override: those of the ini file |

Options in the ini file: `kafka_properties` (lines of name=value, of all brokers), `kafka_brokers` (of `kafka_cluster`,
unless the test says: 3).

Rules
- Nothing is imported and nothing runs before a test asks for a fixture.
- Ports are any that are free and folders are temporary, so that the workers of pytest-xdist do not meet.
- While there is a broker, its log goes to the report of a test that fails, from the test's start to its end, and
  nowhere else: `caplog` is the test's own.
"""

import contextlib
import logging
import uuid
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pykbroker.embedded import ThreadedCluster

LOGGER = "pykbroker"
SECTION = "pykbroker log"
MAX_LOG_LINES = 1000  # of one test
_FORMAT = "%(asctime)s %(levelname)s %(message)s (%(name)s)"
_LOG = pytest.StashKey["_BrokerLog"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("kafka_properties", "properties of the brokers of kafka and kafka_cluster", type="linelist")
    parser.addini("kafka_brokers", "how many brokers kafka_cluster has", default="3")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "kafka_cluster(brokers=3, properties={}): the brokers that the fixture kafka_cluster starts"
    )


@pytest.fixture(scope="session")
def kafka_properties(pytestconfig: pytest.Config) -> dict[str, object]:
    """Properties of all brokers of `kafka` and `kafka_cluster`."""
    properties: dict[str, object] = {}
    for line in pytestconfig.getini("kafka_properties"):
        name, separator, value = line.partition("=")
        if not separator:
            raise pytest.UsageError(f"kafka_properties: {line!r} is not name=value")
        properties[name.strip()] = value.strip()
    return properties


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config, kafka_properties: dict[str, object]) -> "Iterator[ThreadedCluster]":
    """One broker for all tests: `kafka.bootstrap`, `kafka.reset()`, `kafka.faults`."""
    from pykbroker.embedded import Broker

    with _logging(pytestconfig), Broker(properties=kafka_properties) as running:
        yield running


@pytest.fixture
def kafka_topic(kafka: "ThreadedCluster") -> str:
    """The name of a topic that was created for this test."""
    return kafka.create_topic(f"topic-{uuid.uuid4().hex[:12]}", 1)


@pytest.fixture
def kafka_cluster(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, kafka_properties: dict[str, object]
) -> "Iterator[ThreadedCluster]":
    """Several brokers for this test, each of which can be stopped and started."""
    from pykbroker.embedded import Cluster

    marker = request.node.get_closest_marker("kafka_cluster")
    brokers, properties = _asked_for(marker, int(pytestconfig.getini("kafka_brokers")))
    with (
        _logging(pytestconfig),
        Cluster(brokers, properties={**kafka_properties, **properties}) as running,
    ):
        yield running


def _asked_for(marker: pytest.Mark | None, default: int) -> tuple[int, dict[str, object]]:
    def read(brokers: int = default, *, properties: dict[str, object] | None = None) -> tuple[int, dict[str, object]]:
        return brokers, properties or {}

    if marker is None:
        return read()
    try:
        return read(*marker.args, **marker.kwargs)
    except TypeError as error:
        raise pytest.UsageError(f"kafka_cluster(brokers=3, properties={{}}): {error}") from None


# The log


class _BrokerLog(logging.Handler):
    """Keeps what brokers say during one test."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(_FORMAT))
        self.lines: list[str] = []
        self._users = 0
        self._before = (logging.NOTSET, True)  # what the logger was when there were none

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        del self.lines[:-MAX_LOG_LINES]

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the log while the body of the last of all users lasts: they do not end in the order of their nesting."""
        logger = logging.getLogger(LOGGER)
        self._users += 1
        if self._users == 1:
            self._before = logger.level, logger.propagate
            logger.addHandler(self)
            logger.setLevel(logging.INFO)
            logger.propagate = False
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                logger.removeHandler(self)
                level, logger.propagate = self._before
                logger.setLevel(level)

    def be_alone(self) -> None:
        """Take off what pytest 9.2 and newer hangs on each logger that does not propagate, at the start of a phase."""
        if self._users:
            logger = logging.getLogger(LOGGER)
            for handler in [each for each in logger.handlers if type(each).__module__ == "_pytest.logging"]:
                logger.removeHandler(handler)


def _logging(config: pytest.Config) -> contextlib.AbstractContextManager[None]:
    return config.stash.setdefault(_LOG, _BrokerLog()).kept()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if (log := item.config.stash.get(_LOG, None)) is not None:
        log.lines.clear()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    log = item.config.stash.get(_LOG, None)
    if report.failed and log is not None and log.lines:
        report.sections.append((SECTION, "\n".join(log.lines)))
    return report


# Each phase, within what pytest does around it.


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    _be_alone(item.config)
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    _be_alone(item.config)
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    _be_alone(item.config)
    return (yield)


def _be_alone(config: pytest.Config) -> None:
    if (log := config.stash.get(_LOG, None)) is not None:
        log.be_alone()
