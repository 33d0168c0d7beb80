"""What brokers are asked to do so that their metrics say something: groups, transactions, configurations."""

from typing import Any

import anyio

from tests.support.client import Client, fetch_of, produce_of
from tests.support.cluster import RunningCluster
from tests.support.running import DEADLINE_S
from wire.errors import ErrorCode
from wire.messages.group_offsets import OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic
from wire.messages.metadata import FindCoordinatorRequest
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from wire.messages.transactions import EndTxnRequest, InitProducerIdRequest
from wire.records import Record, build_batch

TRY_AGAIN = (ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR)
GROUP, TRANSACTION = 0, 1
Who = dict[str, int]  # a producer's id and epoch, as arguments


async def create_with(client: Client, name: str, **configs: str) -> None:
    wanted = [CreatableTopicConfig(key.replace("_", "."), value) for key, value in configs.items()]
    answer = await client.ask(CreateTopicsRequest([CreatableTopic(name, 1, 1, configs=wanted)]), 7)
    assert answer.topics[0].error_code == 0, answer


def commit_of(group_id: str, *offsets: int) -> OffsetCommitRequest:
    """Offsets of the first partitions of `t`."""
    partitions = [OffsetCommitRequestPartition(index, offset) for index, offset in enumerate(offsets)]
    return OffsetCommitRequest(group_id=group_id, topics=[OffsetCommitRequestTopic("t", partitions=partitions)])


def error_of(answer: Any) -> int:
    code: int = answer.topics[0].partitions[0].error_code if hasattr(answer, "topics") else answer.error_code
    return code


async def ask_coordinator(client: Client, request: object, version: int, *, key: str, key_type: int = GROUP) -> Any:
    """Ask the broker until it is the coordinator, and knows what it coordinates."""
    with anyio.fail_after(DEADLINE_S):
        await client.ask(FindCoordinatorRequest(key=key, key_type=key_type), 2)
        while error_of(answer := await client.ask(request, version)) in TRY_AGAIN:
            pass
    assert error_of(answer) == 0, answer
    return answer


async def init_producer(client: Client, *, timeout_ms: int = 60_000) -> Who:
    """Make a producer of the transactional id `p`."""
    init = InitProducerIdRequest(transactional_id="p", transaction_timeout_ms=timeout_ms)
    answer = await ask_coordinator(client, init, 4, key="p", key_type=TRANSACTION)
    return {"producer_id": answer.producer_id, "producer_epoch": answer.producer_epoch}


async def produce_in_transaction(client: Client, who: Who, *, timestamp: int = -1) -> None:
    """Begin a transaction with one record in t-0, which this broker leads."""
    records = [Record(timestamp=timestamp, value=b"v")]
    batch = build_batch(records, base_sequence=0, is_transactional=True, **who)
    data = [TopicProduceData("t", partition_data=[PartitionProduceData(0, batch)])]
    answer = await client.ask(ProduceRequest(transactional_id="p", acks=-1, timeout_ms=1000, topic_data=data), 12)
    assert answer.responses[0].partition_responses[0].error_code == 0, answer


async def load(cluster: RunningCluster) -> None:
    """Have a group with lag, a transaction, an error, and a follower of everything."""
    for topic in ("__consumer_offsets", "__transaction_state", "t"):
        await cluster.create_topic(topic, [(1, 2)])
    async with Client.connect(cluster.brokers[1]) as client:
        for value in (b"1", b"2", b"3"):
            await client.ask(produce_of("t", value, acks=-1), 9)
        who = await init_producer(client)
        await produce_in_transaction(client, who)
        assert (await client.ask(EndTxnRequest("p", *who.values(), committed=True), 4)).error_code == 0
        await ask_coordinator(client, commit_of("readers", 1), 8, key="readers")
        await client.ask(fetch_of("t"), 12)
        await client.ask(fetch_of("t", 99), 12)
