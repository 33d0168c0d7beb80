"""Metrics of clients (KIP-714). What is answered was compared with Apache Kafka 4.4.0 with a receiver of metrics."""

from collections.abc import Mapping

import attrs
import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.cluster.image import EMPTY, ConfigResourceType, MetadataImage
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError
from pykbroker.telemetry import ACCEPTED_CODECS, ClientTelemetry, Push, Subscription
from wire.compression import Codec, compress
from wire.errors import ErrorCode
from wire.primitives import uuid_text
from wire.schema import ZERO_UUID

CLIENT = {
    "client_id": "capture",
    "client_software_name": "soft",
    "client_software_version": "1.2",
    "client_source_address": "127.0.0.1",
    "client_source_port": "40000",
}
MAX_BYTES = 1000
OK, THROTTLED, TERMINATED = ErrorCode.NONE, ErrorCode.THROTTLING_QUOTA_EXCEEDED, ErrorCode.INVALID_REQUEST


class Connection:
    """What lives as long as a connection."""


def image_of(**subscriptions: Mapping[str, str]) -> MetadataImage:
    return attrs.evolve(
        EMPTY, configs={(ConfigResourceType.CLIENT_METRICS, name): values for name, values in subscriptions.items()}
    )


class Rig:
    """One client, and what it is told."""

    def __init__(self, **properties: str) -> None:
        names = {"telemetry.max.bytes": str(MAX_BYTES), "pykbroker.telemetry.enable": "true"}
        properties = {f"pykbroker.telemetry.{name.replace('_', '.')}": value for name, value in properties.items()}
        self.clock = SimulatedClock()
        self.telemetry = ClientTelemetry(BrokerConfig.from_properties({**names, **properties}), self.clock)
        self.image = EMPTY
        self.client: dict[str, str | None] = dict(CLIENT)
        self.connection = Connection()
        self.client_instance_id = ZERO_UUID
        self.subscription: Subscription | None = None

    def ask(self) -> Subscription:
        told = self.telemetry.subscribe(self.image, self.client, self.client_instance_id, self.connection)
        self.client_instance_id, self.subscription = told.client_instance_id, told
        return told

    def get(self) -> ErrorCode:
        try:
            self.ask()
        except KafkaError as error:
            return error.code
        return OK

    def push(
        self, data: bytes = b"data", *, wrong_id: bool = False, terminating: bool = False, codec: int = 0
    ) -> ErrorCode:
        assert self.subscription is not None
        subscription_id = self.subscription.id + wrong_id
        push = Push(self.client_instance_id, subscription_id, terminating, codec, data)
        try:
            self.telemetry.push(self.image, self.client, push, self.connection)
        except KafkaError as error:
            return error.code
        return OK


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.ask()
    return rig


def test_client_without_subscription_is_asked_for_nothing_and_gets_an_id(rig: Rig) -> None:
    told = rig.subscription
    assert told is not None
    assert (told.metrics, told.interval_ms) == ((), 300_000)
    assert told.client_instance_id != ZERO_UUID
    assert -(2**31) <= told.id < 2**31


def test_client_asks_and_pushes_once_in_an_interval(rig: Rig) -> None:
    assert rig.get() == THROTTLED
    assert [rig.push(), rig.push(), rig.get()] == [OK, THROTTLED, THROTTLED]
    rig.clock.advance(299_999)
    assert [rig.push(), rig.get()] == [THROTTLED, THROTTLED]
    rig.clock.advance(1)
    assert [rig.push(), rig.get()] == [OK, THROTTLED]
    rig.clock.advance(300_000)
    assert [rig.get(), rig.push(), rig.push()] == [OK, OK, THROTTLED]


def test_client_that_terminates_pushes_once_more_before_its_time(rig: Rig) -> None:
    assert [rig.push(), rig.push(terminating=True), rig.push(terminating=True)] == [OK, OK, TERMINATED]


@pytest.mark.parametrize("has_pushed", [True, False])
def test_client_that_went_on_after_its_end_may_end_again(rig: Rig, has_pushed: bool) -> None:
    assert rig.push(terminating=True) == OK
    if has_pushed:
        assert rig.push() == TERMINATED
    else:
        assert rig.get() == THROTTLED
    assert rig.push(terminating=True) == (OK if has_pushed else TERMINATED)


def test_end_of_a_client_that_was_refused_is_its_end(rig: Rig) -> None:
    assert [rig.push(wrong_id=True, terminating=True), rig.push(terminating=True)] == [
        ErrorCode.UNKNOWN_SUBSCRIPTION_ID,
        TERMINATED,
    ]


def test_client_with_another_subscription_asks_again_at_once(rig: Rig) -> None:
    assert [rig.push(wrong_id=True), rig.get(), rig.get()] == [ErrorCode.UNKNOWN_SUBSCRIPTION_ID, OK, THROTTLED]
    assert rig.push() == THROTTLED  # its push counted


def test_client_with_an_unknown_codec_asks_again_at_once(rig: Rig) -> None:
    for codec in (5, -1):
        assert rig.push(codec=codec) == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
        assert rig.get() == OK
        rig.clock.advance(300_000)


@pytest.mark.parametrize("codec", [Codec.NONE, *ACCEPTED_CODECS])
def test_push_is_kept_as_it_was_before_compression(rig: Rig, codec: Codec) -> None:
    assert rig.push(compress(codec, b"m" * MAX_BYTES), codec=codec) == OK
    (pushed,) = rig.telemetry.received
    assert (pushed.data, pushed.client_instance_id) == (b"m" * MAX_BYTES, rig.client_instance_id)
    assert (pushed.client["client_id"], pushed.terminating) == ("capture", False)


@pytest.mark.parametrize("codec", ACCEPTED_CODECS)
@pytest.mark.parametrize("size", [MAX_BYTES + 1, 5 * MAX_BYTES])
def test_push_that_is_too_large_when_decompressed_is_an_invalid_record(rig: Rig, codec: Codec, size: int) -> None:
    assert rig.push(compress(codec, bytes(size)), codec=codec) == ErrorCode.INVALID_RECORD
    assert not rig.telemetry.received


def test_push_of_garbage_is_an_invalid_record_and_one_that_is_too_large_is_refused(rig: Rig) -> None:
    assert rig.push(b"abcdef", codec=Codec.GZIP) == ErrorCode.INVALID_RECORD
    assert rig.get() == THROTTLED
    rig.clock.advance(300_000)
    assert rig.push(bytes(MAX_BYTES + 1)) == ErrorCode.TELEMETRY_TOO_LARGE
    assert rig.push(bytes(MAX_BYTES + 1), wrong_id=True, terminating=True) == ErrorCode.UNKNOWN_SUBSCRIPTION_ID


def test_push_without_metrics_is_taken_and_nothing_of_it_kept(rig: Rig) -> None:
    assert rig.push(b"") == OK
    assert not rig.telemetry.received


@pytest.mark.parametrize("client_instance_id", [ZERO_UUID, bytes(15) + b"\1"])
def test_push_without_an_id_is_an_invalid_request(rig: Rig, client_instance_id: bytes) -> None:
    rig.client_instance_id = client_instance_id
    assert rig.push() == ErrorCode.INVALID_REQUEST


def test_push_of_a_client_that_never_asked_has_no_subscription(rig: Rig) -> None:
    rig.client_instance_id = bytes(range(16))
    assert rig.push(wrong_id=True) == ErrorCode.UNKNOWN_SUBSCRIPTION_ID
    assert rig.get() == OK


def test_subscriptions_that_match_are_added_up_at_the_shortest_interval(rig: Rig) -> None:
    one = {"metrics": "org.apache.kafka.producer.,x", "interval.ms": "2000", "match": "client_id=cap.*"}
    match = r"client_software_name=soft,client_software_version=1\..*,client_source_port=\d+"
    two = {"metrics": "b,x", "interval.ms": "1000", "match": f"{match},client_source_address=127.*"}
    other = {"metrics": "z", "interval.ms": "100", "match": "client_id=zzz"}
    rig.image = image_of(one=one, other=other)
    told = rig.ask()  # at once, since there are other subscriptions
    assert (told.metrics, told.interval_ms) == (("org.apache.kafka.producer.", "x"), 2000)
    rig.image = image_of(one=one, two=two, other=other)
    assert rig.push() == ErrorCode.UNKNOWN_SUBSCRIPTION_ID
    told = rig.ask()
    assert (told.metrics, told.interval_ms) == (("b", "org.apache.kafka.producer.", "x"), 1000)
    rig.image = image_of(one=one, two=two, all={"metrics": "*", "interval.ms": "5000"})
    told = rig.ask()
    assert (told.metrics, told.interval_ms) == (("*",), 1000)


def test_configurations_of_others_leave_a_client_its_subscription(rig: Rig) -> None:
    rig.image = attrs.evolve(EMPTY, configs={(ConfigResourceType.TOPIC, "t"): {"retention.ms": "1"}})
    assert rig.get() == THROTTLED


@pytest.mark.parametrize(
    ("match", "is_matched"),
    [("client_instance_id={id}", True), ("client_instance_id=x", False), ("client_id=capt", False), ("", True)],
)
def test_patterns_match_whole_facts(rig: Rig, match: str, is_matched: bool) -> None:
    rig.image = image_of(one={"metrics": "a", "match": match.format(id=uuid_text(rig.client_instance_id))})
    assert rig.ask().metrics == (("a",) if is_matched else ())


def test_client_without_an_id_of_its_own_matches_no_pattern_of_one(rig: Rig) -> None:
    rig.client["client_id"] = None
    rig.image = image_of(one={"metrics": "a", "match": "client_id=.*"})
    assert rig.ask().metrics == ()


def test_client_whose_connection_is_gone_begins_anew(rig: Rig) -> None:
    assert rig.push() == OK
    rig.connection = Connection()
    assert [rig.get(), rig.push()] == [OK, OK]


def test_oldest_pushes_go_when_there_are_too_many_bytes() -> None:
    rig = Rig(max_kept_bytes="1500")
    for number in range(3):
        rig.client_instance_id = ZERO_UUID
        rig.ask()
        assert rig.push(bytes([number]) * 700) == OK
    assert [pushed.data[0] for pushed in rig.telemetry.received] == [1, 2]


def test_pushes_are_not_kept_where_nobody_wants_them() -> None:
    rig = Rig(enable="false")
    rig.ask()
    assert rig.push() == OK
    assert not rig.telemetry.received


def test_client_that_was_not_heard_for_longest_is_forgotten_first() -> None:
    rig = Rig(max_clients="2")
    ids = [bytes([number]) * 16 for number in (2, 3, 4)]
    for rig.client_instance_id in (*ids[:2], ids[0], ids[2]):
        rig.get()
    rig.client_instance_id = ids[0]
    assert rig.get() == THROTTLED
    rig.client_instance_id = ids[1]
    assert rig.get() == OK


def test_client_that_is_silent_for_three_intervals_is_forgotten(rig: Rig) -> None:
    silent = rig.client_instance_id
    rig.push(terminating=True)
    rig.clock.advance(900_000)
    rig.client_instance_id = ZERO_UUID
    rig.ask()
    rig.client_instance_id = silent
    assert [rig.get(), rig.push()] == [OK, OK]
