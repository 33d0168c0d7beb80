"""What `pykbroker check` does: look for what is wrong with a cluster.

A finding is what somebody would have to do something about: a broker that does not answer, no controller, a log
directory that is offline, a partition without a leader, with fewer members of the ISR than `min.insync.replicas` (it
takes no acks=all), or with replicas out of sync.
"""

import attrs

from pykbroker.cli.options import Cluster
from pykbroker.cli.output import print_json, say
from pykbroker.cli.running import run
from pykbroker.client import Client, NoBrokerError, NotServedError
from pykbroker.client.brokers import active_controller, log_dirs
from pykbroker.client.client import reason
from pykbroker.client.configs import topic_configs
from pykbroker.client.metadata import NOBODY, ClusterMetadata, PartitionMetadata
from pykbroker.errors import KafkaError

MIN_ISR = "min.insync.replicas"


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


def check(cluster: Cluster, *, json: bool) -> bool:
    """Print what is wrong; return whether nothing is."""
    health = run(cluster, _examine)
    if json:
        print_json({"healthy": not health.findings, **attrs.asdict(health)})
    elif health.findings:
        for finding in health.findings:
            say(finding.text)
    else:
        say(f"healthy (brokers: {health.brokers}, topics: {health.topics}, partitions: {health.partitions})")
    return not health.findings


async def _examine(client: Client) -> Health:
    try:
        metadata = await client.metadata()
    except NoBrokerError as error:
        return Health(None, 0, 0, 0, [Finding("no_broker", "", str(error))])
    findings = [*await _of_controller(client), *await _of_brokers(client, metadata)]
    min_isr = await topic_configs(client, metadata.topics, MIN_ISR)
    partitions = [(name, each) for name, topic in sorted(metadata.topics.items()) for each in topic.partitions]
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
    findings = []
    for broker_id, broker in sorted(metadata.brokers.items()):
        try:
            dirs = await log_dirs(client, broker_id)
        except (KafkaError, NotServedError):  # it answers, and may have reasons not to tell this
            continue
        except OSError as error:
            text = f"broker {broker_id} at {broker.host}:{broker.port} does not answer: {reason(error)}"
            findings.append(Finding("broker_unreachable", str(broker_id), text))
            continue
        findings += [
            Finding("log_dir_offline", str(broker_id), f"broker {broker_id}: log directory {each.path} is offline")
            for each in dirs
            if each.error
        ]
    return findings


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
