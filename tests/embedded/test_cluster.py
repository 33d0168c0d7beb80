"""Brokers in the event loop of the test."""

import anyio
import pytest

import pykbroker
from pykbroker.broker import StartError
from pykbroker.cluster.image import ConfigResourceType
from tests.support.client import Client, create_topic, produce_of
from wire.messages.configs import (
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsRequestAlterableConfig,
    IncrementalAlterConfigsRequestAlterConfigsResource,
)
from wire.messages.metadata import FindCoordinatorRequest
from wire.messages.topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from wire.messages.transactions import InitProducerIdRequest

pytestmark = pytest.mark.anyio


async def test_broker_runs_in_the_callers_loop() -> None:
    async with pykbroker.Broker() as kafka, Client.connect(kafka.broker()) as client:
        await create_topic(client, "t")
        answer = await client.ask(produce_of("t", b"v"), 9)
        assert answer.responses[0].partition_responses[0].error_code == 0
        assert kafka.bugs == 0
    assert not kafka.data_dir.exists()


async def test_what_the_body_raises_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with pykbroker.Cluster(2):
            _ = 1 / 0


async def test_error_of_the_start_is_raised_in_the_caller_and_leaves_nothing() -> None:
    async with pykbroker.Broker() as kafka:
        taken = {"listeners": f"PLAINTEXT://{kafka.bootstrap}"}
        with pytest.raises(StartError, match="cannot listen"):
            async with pykbroker.Broker(properties=taken):
                pytest.fail("the port is taken")


async def test_cancelled_body_stops_the_brokers() -> None:
    with anyio.CancelScope() as scope:
        async with pykbroker.Cluster(2) as kafka:
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert kafka.brokers == []


async def test_an_object_may_be_used_again() -> None:
    cluster = pykbroker.Broker()
    for _ in range(2):
        async with cluster as kafka:
            assert await kafka.create_topic("t") == "t"


async def test_reset_leaves_what_a_new_cluster_has() -> None:
    async with pykbroker.Cluster(2) as kafka, Client.connect(kafka.broker(1)) as client:
        image = kafka.broker(1).services.cluster.image
        new_topic = CreatableTopic("a.topic", 2, 2, configs=[CreatableTopicConfig("retention.ms", "1")])
        await client.ask(CreateTopicsRequest([new_topic]), 7)
        for key_type in (0, 1):  # creates what coordinators need
            await client.ask(FindCoordinatorRequest(key_type=key_type, coordinator_keys=["key"]), 4)
        changed = IncrementalAlterConfigsRequestAlterableConfig("log.retention.ms", 0, "5")
        for name in ("", "1"):
            resource = IncrementalAlterConfigsRequestAlterConfigsResource(
                ConfigResourceType.BROKER, name, configs=[changed]
            )
            await client.ask(IncrementalAlterConfigsRequest([resource]), 1)
        producer_id = (await client.ask(InitProducerIdRequest(transactional_id=None), 4)).producer_id
        assert kafka.broker(1).config.log_retention_ms == 5
        await kafka.reset()
        for broker in (kafka.broker(1), kafka.broker(2)):
            after = broker.services.cluster.image
            assert (after.topics, after.configs, after.features) == ({}, image.configs, image.features)
            assert {each.id: each.epoch for each in after.brokers.values()} == {
                each.id: each.epoch for each in image.brokers.values()
            }
            assert not list(broker.services.replicas.partitions())
            assert broker.services.groups.shards() == []
            assert broker.config.log_retention_ms is None
        assert (await client.ask(InitProducerIdRequest(transactional_id=None), 4)).producer_id > producer_id, (
            "never one twice"
        )
        await create_topic(client, "a_topic")
        assert kafka.bugs == 0
