"""What `pykbroker check` does: look for what is wrong with a cluster.

A finding is what somebody would have to do something about: a broker that has replicas and is not there, or does not
answer, no controller, a log directory that is offline, a partition without a leader, with fewer members of the ISR than
`min.insync.replicas` (it takes no acks=all), or with replicas out of sync. For people the worst come first, and what
holds for many partitions of a topic is a line.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import anyio
import attrs

from pykbroker.cli.options import Cluster
from pykbroker.cli.output import print_json, say
from pykbroker.cli.running import run
from pykbroker.client import Client, NoBrokerError, NotServedError
from pykbroker.client.brokers import active_controller, log_dirs
from pykbroker.client.client import reason
from pykbroker.client.configs import topic_configs
from pykbroker.client.metadata import NOBODY, BrokerMetadata, ClusterMetadata, PartitionMetadata
from pykbroker.errors import KafkaError

MIN_ISR = "min.insync.replicas"
_FROM_BAD_TO_LESS = {"offline": 0, "under_min_isr": 1, "under_replicated": 2}  # all that is not in it is worse
MAX_LINES_ABOUT_A_TOPIC = 5  # of one kind


@attrs.frozen
class Finding:
    kind: str  # for programs
    subject: str
    text: str


@attrs.frozen
class Health:
    cluster_id: str | None
    brokers: int
    topics: int
    partitions: int
    findings: list[Finding]


def check(cluster: Cluster, *, timeout_s: float, json: bool) -> bool:
    """Print what is wrong; return whether nothing is. Who has not answered when time is up does not answer."""

    async def work(client: Client) -> Health:
        with client.deadline(timeout_s * 1000):
            return await examine(client)

    health = run(cluster, work)
    if json:
        print_json({"healthy": not health.findings, **attrs.asdict(health)})
    elif health.findings:
        for line in _for_people(health.findings):
            say(line)
    else:
        say(f"healthy (brokers: {health.brokers}, topics: {health.topics}, partitions: {health.partitions})")
    return not health.findings


async def examine(client: Client) -> Health:
    """Look at all of the cluster. Raises: KafkaError, OSError."""
    try:
        metadata = await client.metadata()
    except NoBrokerError as error:
        return Health(None, 0, 0, 0, [Finding("no_broker", "", str(error))])
    findings = await _of_controller(client)
    min_isr = await topic_configs(client, metadata.topics, MIN_ISR)
    findings += await _of_brokers(client, metadata)  # it takes all the time that is left if one of them does not answer
    partitions = [(name, each) for name, topic in sorted(metadata.topics.items()) for each in topic.partitions]
    findings += _absent_brokers(metadata, [each for _, each in partitions])
    for name, each in partitions:
        findings += _of_partition(f"{name}-{each.index}", each, int(min_isr.get(name) or 1))
    return Health(metadata.cluster_id, len(metadata.brokers), len(metadata.topics), len(partitions), findings)


async def _of_controller(client: Client) -> list[Finding]:
    try:
        if await active_controller(client) != NOBODY:
            return []
        why = "the cluster has no controller"
    except (KafkaError, OSError) as error:
        why = f"the controller cannot be asked for: {reason(error) if isinstance(error, OSError) else error}"
    return [Finding("no_controller", "", why)]


async def _of_brokers(client: Client, metadata: ClusterMetadata) -> list[Finding]:
    """Ask them all at once."""
    findings: dict[int, list[Finding]] = {}

    async def ask(broker: BrokerMetadata) -> None:
        findings[broker.id] = await _of_broker(client, broker)

    async with anyio.create_task_group() as tasks:
        for broker in metadata.brokers.values():
            tasks.start_soon(ask, broker)
    return [finding for _, of_broker in sorted(findings.items()) for finding in of_broker]


async def _of_broker(client: Client, broker: BrokerMetadata) -> list[Finding]:
    try:
        dirs = await log_dirs(client, broker.id)
    except (KafkaError, NotServedError):  # it answers, and may have reasons not to tell this
        return []
    except OSError as error:
        text = f"broker {broker.id} at {broker.host}:{broker.port} does not answer: {reason(error)}"
        return [Finding("broker_unreachable", str(broker.id), text)]
    return [
        Finding("log_dir_offline", str(broker.id), f"broker {broker.id}: log directory {each.path} is offline")
        for each in dirs
        if each.error
    ]


def _absent_brokers(metadata: ClusterMetadata, partitions: Sequence[PartitionMetadata]) -> list[Finding]:
    held = Counter(broker for partition in partitions for broker in partition.replicas)
    return [
        Finding("broker_absent", str(broker), f"broker {broker} is not there, and should have {held[broker]} replicas")
        for broker in sorted(held.keys() - metadata.brokers.keys())
    ]


def _of_partition(subject: str, partition: PartitionMetadata, min_isr: int) -> list[Finding]:
    """The worst that is wrong with a partition; a leader that is missing explains the rest."""
    isr, replicas = len(partition.isr), len(partition.replicas)
    if partition.leader == NOBODY:
        return [Finding("offline", subject, f"{subject} has no leader")]
    if isr < min_isr:
        return [Finding("under_min_isr", subject, f"{subject} has {isr} in sync where {MIN_ISR} is {min_isr}")]
    if isr < replicas:
        return [Finding("under_replicated", subject, f"{subject} has {isr} of {replicas} replicas in sync")]
    return []


def _for_people(findings: Sequence[Finding]) -> Iterator[str]:
    by_topic: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        topic = finding.subject.rpartition("-")[0]  # empty where it is about no partition
        by_topic.setdefault((finding.kind, topic), []).append(finding)
    for (_, topic), alike in sorted(by_topic.items(), key=lambda item: _FROM_BAD_TO_LESS.get(item[0][0], -1)):
        if topic and len(alike) > MAX_LINES_ABOUT_A_TOPIC:
            yield f"{alike[0].text}, and {len(alike) - 1} more partitions of {topic} like it"
        else:
            yield from (finding.text for finding in alike)
