"""What `pykbroker topics` does."""

from collections.abc import Iterable, Mapping, Sequence

from pykbroker.cli.actions.known_offsets import known_offsets
from pykbroker.cli.options import Cluster
from pykbroker.cli.output import ids, print_json, print_table, say
from pykbroker.cli.running import report_failures, run
from pykbroker.client import Client, configs, offsets, topics
from pykbroker.client.client import check
from pykbroker.client.metadata import TopicMetadata
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode
from wire.primitives import uuid_text
from wire.schema import ZERO_UUID


def list_topics(cluster: Cluster, *, internal: bool, json: bool) -> None:
    metadata = run(cluster, lambda client: client.metadata())
    shown = [topic for _, topic in sorted(metadata.topics.items()) if internal or not topic.is_internal]
    if json:
        print_json([_summary(topic) for topic in shown])
        return
    rows = [[topic.name, len(topic.partitions), topic.replication_factor] for topic in shown]
    print_table(["TOPIC", "PARTITIONS", "REPLICAS"], rows)


def _summary(topic: TopicMetadata) -> dict[str, object]:
    return {
        "name": topic.name,
        "id": None if topic.id == ZERO_UUID else uuid_text(topic.id),
        "is_internal": topic.is_internal,
        "partitions": len(topic.partitions),
        "replication_factor": topic.replication_factor,
    }


def describe(cluster: Cluster, names: Sequence[str], *, json: bool) -> None:
    async def work(client: Client) -> list[dict[str, object]]:
        metadata = await client.metadata(names)
        return [await _description(client, metadata.topics[name]) for name in dict.fromkeys(names)]

    described = run(cluster, work)
    if json:
        print_json(described)
        return
    for number, topic in enumerate(described):
        if number:
            say("")
        say(f"{topic['name']}  id {topic['id']}")
        set_configs, partitions = topic["configs"], topic["partitions"]
        assert isinstance(set_configs, dict)
        assert isinstance(partitions, list)
        for name, value in set_configs.items():
            say(f"  {name}={value}")
        rows = [[_cell(value) for value in partition.values()] for partition in partitions]
        print_table(["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "OFFLINE", "START", "END"], rows)


def _cell(value: object) -> object:
    return ids(value) if isinstance(value, list) else "-" if value is None else value


async def _description(client: Client, topic: TopicMetadata) -> dict[str, object]:
    check(topic.error, f"there is no topic {topic.name}")
    led = [TopicPartition(topic.name, each.index) for each in topic.partitions if each.leader >= 0]
    starts, ends = await known_offsets(client, led)
    resource = configs.Resource(configs.ResourceType.TOPIC, topic.name)
    entries = await configs.describe_configs(client, resource)
    return {
        **_summary(topic),
        "configs": {entry.name: entry.value for entry in entries if entry.source is configs.ConfigSource.DYNAMIC_TOPIC},
        "partitions": [
            {
                "partition": each.index,
                "leader": each.leader,
                "leader_epoch": each.leader_epoch,
                "replicas": list(each.replicas),
                "isr": list(each.isr),
                "offline_replicas": list(each.offline_replicas),
                "log_start_offset": starts.get(TopicPartition(topic.name, each.index)),
                "high_watermark": ends.get(TopicPartition(topic.name, each.index)),
            }
            for each in topic.partitions
        ],
    }


def create(
    cluster: Cluster, wanted: Iterable[topics.NewTopic], *, if_not_exists: bool, dry_run: bool, json: bool
) -> None:
    outcomes = run(cluster, lambda client: topics.create_topics(client, wanted, validate_only=dry_run))
    if if_not_exists:
        outcomes = _without(ErrorCode.TOPIC_ALREADY_EXISTS, outcomes)
    _print_outcomes(outcomes, "would be created" if dry_run else "created", json=json)


def delete(cluster: Cluster, names: Iterable[str], *, if_exists: bool, json: bool) -> None:
    outcomes = run(cluster, lambda client: topics.delete_topics(client, dict.fromkeys(names)))
    if if_exists:
        outcomes = _without(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, outcomes)
    _print_outcomes(outcomes, "deleted", json=json)


def _without(code: ErrorCode, outcomes: Mapping[str, KafkaError | None]) -> dict[str, KafkaError | None]:
    """Let an error count as success."""
    return {name: None if error and error.code is code else error for name, error in outcomes.items()}


def alter(
    cluster: Cluster,
    name: str,
    *,
    partitions: int | None,
    set_configs: Mapping[str, str],
    deleted_configs: Iterable[str],
    json: bool,
) -> None:
    changes = [configs.ConfigChange(key, configs.Operation.SET, value) for key, value in set_configs.items()]
    changes += [configs.ConfigChange(key, configs.Operation.DELETE) for key in deleted_configs]

    async def work(client: Client) -> dict[str, KafkaError | None]:
        if changes:
            await configs.alter_configs(client, configs.Resource(configs.ResourceType.TOPIC, name), changes)
        if partitions is None:
            return {name: None}
        return await topics.create_partitions(client, {name: partitions})

    _print_outcomes(run(cluster, work), "altered", json=json)


def delete_records(cluster: Cluster, name: str, *, partitions: Sequence[int], before: int, json: bool) -> None:
    async def work(client: Client) -> dict[TopicPartition, int | KafkaError]:
        metadata = await client.metadata([name])
        check(metadata.topics[name].error, f"there is no topic {name}")
        indexes = partitions or range(len(metadata.topics[name].partitions))
        return await offsets.delete_records(client, {TopicPartition(name, index): before for index in indexes})

    results = dict(sorted(run(cluster, work).items()))
    starts = {tp.partition: result for tp, result in results.items() if isinstance(result, int)}
    if json:
        print_json([{"partition": index, "log_start_offset": offset} for index, offset in starts.items()])
    elif starts:
        print_table(["PARTITION", "START"], list(starts.items()))
    report_failures({str(tp): result for tp, result in results.items() if isinstance(result, KafkaError)})


def _print_outcomes(outcomes: dict[str, KafkaError | None], done: str, *, json: bool) -> None:
    """Say what became of each topic. Raises: typer.Exit where something failed."""
    if json:
        print_json([{"name": name, "error": error and error.code.name} for name, error in outcomes.items()])
    else:
        for name, error in outcomes.items():
            if error is None:
                say(f"{name}: {done}")
    report_failures(outcomes)
