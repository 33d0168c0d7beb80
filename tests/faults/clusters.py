"""What tests of faults do with the brokers of their event loop."""

from pykbroker.embedded import AsyncCluster
from tests.support.client import Client, produce_of

HOUR_MS = 3_600_000
SHORT_SESSIONS = {"broker.session.timeout.ms": 1000, "broker.heartbeat.interval.ms": 100}


def leader_of(kafka: AsyncCluster, topic: str, *, seen_by: int = 1) -> int:
    state = kafka.broker(seen_by).services.cluster.image.partition(topic, 0)
    assert state is not None
    return state.leader


async def produce(kafka: AsyncCluster, to: int, topic: str, *, acks: int = -1, timeout_ms: int = 1500) -> int:
    request = produce_of(topic, b"v", acks=acks)
    request.timeout_ms = timeout_ms
    async with Client.connect(kafka.broker(to)) as client:
        answer = await client.ask(request, 9)
    code: int = answer.responses[0].partition_responses[0].error_code
    return code
