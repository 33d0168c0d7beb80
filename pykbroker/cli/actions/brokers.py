"""What `pykbroker brokers` does."""

from collections import Counter
from collections.abc import Mapping

import attrs

from pykbroker.cli.actions.decommission import TooFewBrokersError, plan
from pykbroker.cli.actions.moves import THROTTLE_STAYS
from pykbroker.cli.actions.moving import begin, follow, replicas_of
from pykbroker.cli.options import Cluster
from pykbroker.cli.output import complain, ids, print_json, print_table, say
from pykbroker.cli.running import CommandError, report_failures, run
from pykbroker.client import Client
from pykbroker.client import brokers as client_brokers
from pykbroker.client.metadata import NOBODY
from pykbroker.client.reassignments import Outcomes, Reassignment, list_reassignments
from pykbroker.client.throttles import throttled_replicas, unthrottle
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode

_IS_DELETED = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
ACTIVE, FENCED, ABSENT = "active", "fenced", "absent"  # absent: replicas are to be on it, and it is not there


@attrs.frozen
class Listed:
    id: int
    host: str | None
    port: int | None
    rack: str | None
    state: str
    is_controller: bool
    leaders: int
    replicas: int
    replicas_not_in_sync: int
    bytes: int | None  # None: it does not tell


def list_brokers(cluster: Cluster, *, json: bool) -> None:
    listed = run(cluster, _listed)
    if json:
        print_json([attrs.asdict(each) for each in listed])
        return
    from rich.filesize import decimal

    rows = [
        [
            each.id,
            "-" if each.host is None else f"{each.host}:{each.port}",
            each.rack or "-",
            each.state,
            "yes" if each.is_controller else "-",
            *(each.leaders, each.replicas, each.replicas_not_in_sync),
            "-" if each.bytes is None else decimal(each.bytes),
        ]
        for each in listed
    ]
    columns = ["ID", "ADDRESS", "RACK", "STATE", "CONTROLLER", "LEADERS", "REPLICAS", "NOT IN SYNC", "SIZE"]
    print_table(columns, rows)


async def _listed(client: Client) -> list[Listed]:
    registered = {broker.id: broker for broker in await client_brokers.registered_brokers(client)}
    metadata = await client.metadata()
    try:
        controller = await client_brokers.active_controller(client)
    except KafkaError:  # a client may have no right to know
        controller = NOBODY
    partitions = [each for topic in metadata.topics.values() for each in topic.partitions]
    leaders = Counter(each.leader for each in partitions)
    replicas = Counter(broker for each in partitions for broker in each.replicas)
    in_sync = Counter(broker for each in partitions for broker in each.isr)
    sizes = await _sizes(client, [broker.id for broker in registered.values() if not broker.is_fenced])
    listed = []
    for broker_id in sorted(registered.keys() | replicas.keys()):
        broker = registered.get(broker_id)
        listed.append(
            Listed(
                broker_id,
                broker.host if broker else None,
                broker.port if broker else None,
                broker.rack if broker else None,
                ABSENT if broker is None else FENCED if broker.is_fenced else ACTIVE,
                broker_id == controller,
                leaders[broker_id],
                replicas[broker_id],
                replicas[broker_id] - in_sync[broker_id],
                sizes.get(broker_id),
            )
        )
    return listed


async def _sizes(client: Client, broker_ids: list[int]) -> dict[int, int]:
    """Return how much is in their log directories."""

    async def ask(broker_id: int) -> int:
        return sum(each.bytes for each in await client_brokers.log_dirs(client, broker_id))

    return await client_brokers.told_by_each(broker_ids, ask)


# Taking one out of service


@attrs.define
class Decommission:
    """One broker that is to have no replicas."""

    client: Client
    broker_id: int
    throttle: int | None
    before: dict[TopicPartition, tuple[int, ...]] = attrs.field(factory=dict)
    planned: dict[TopicPartition, list[int]] = attrs.field(factory=dict)
    outcomes: Outcomes = attrs.field(factory=dict)

    async def run(self, *, wait: bool) -> None:
        """Move what is there, and what comes meanwhile: a new topic, for one."""
        try:
            while await self._round(wait=wait) and wait:
                pass
        except CommandError:  # later on, others may be too few
            await self._unthrottle()
            raise
        if wait or not any(error is None for error in self.outcomes.values()):
            await self._unthrottle()
        elif self.throttle is not None:
            complain(THROTTLE_STAYS)

    async def _round(self, *, wait: bool) -> bool:
        """Return whether there was anything to do."""
        under_way = await list_reassignments(self.client)
        new = await self.plan(under_way)
        going = {tp: list(move.wanted) for tp, move in under_way.items() if self.broker_id in move.removing}
        if not new and not going:
            return False
        self.planned |= going
        self.before |= {tp: under_way[tp].sources for tp in going}
        topics = {tp.topic for tp in (*new, *going)}
        beside = {tp: move for tp, move in under_way.items() if tp.topic in topics}
        outcomes = dict.fromkeys(going) | await begin(
            self.client, new, self.before, beside, throttle_rate=self.throttle, may_change_factor=False
        )
        outcomes = {tp: None if error and error.code is _IS_DELETED else error for tp, error in outcomes.items()}
        self.outcomes |= outcomes
        if wait:
            begun = {tp: self.planned[tp] for tp, error in outcomes.items() if error is None}
            self.outcomes |= await follow(self.client, begun)
        return True

    async def plan(self, under_way: Mapping[TopicPartition, Reassignment]) -> dict[TopicPartition, list[int]]:
        """Return where replicas go that nobody has moved yet. Raises: CommandError."""
        metadata = await self.client.metadata()
        present = replicas_of(metadata)
        wanted = {tp: under_way[tp].wanted if tp in under_way else each for tp, each in present.items()}
        held = [tp for tp, each in wanted.items() if self.broker_id in each and tp not in self.outcomes]
        if not held and self.broker_id not in metadata.brokers:
            await self._check_is_known()
        leaderless = [tp for tp in held if metadata.topics[tp.topic].partitions[tp.partition].leader == NOBODY]
        why = "nobody leads it, so that it cannot be copied"
        self.outcomes |= {tp: KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, why) for tp in leaderless}
        racks = {each.id: each.rack for each in metadata.brokers.values()}
        try:
            new = plan(self.broker_id, set(held) - set(leaderless), wanted, racks)
        except TooFewBrokersError as error:
            raise CommandError(f"broker {self.broker_id} cannot be taken out of service: {error}") from None
        self.before |= {tp: under_way[tp].sources if tp in under_way else present[tp] for tp in held}
        self.planned |= new
        return new

    async def _check_is_known(self) -> None:
        known = [broker.id for broker in await client_brokers.registered_brokers(self.client)]
        if self.broker_id not in known:
            raise CommandError(f"there is no broker {self.broker_id}")

    async def _unthrottle(self) -> None:
        """Of all topics that were held back for it, also by a command that did not see the end."""
        throttled = await throttled_replicas(self.client, (await self.client.metadata()).topics)
        own = f":{self.broker_id}"
        topics = {name for name, value in throttled.items() if any(each.endswith(own) for each in value.split(","))}
        moved = () if self.throttle is None else {tp.topic for tp in self.planned}
        await unthrottle(self.client, topics, certain=moved)


def decommission(
    cluster: Cluster, broker_id: int, *, throttle: int | None, wait: bool, dry_run: bool, json: bool
) -> None:
    async def work(client: Client) -> Decommission:
        task = Decommission(client, broker_id, throttle)
        if dry_run:
            await task.plan(await list_reassignments(client))
        else:
            await task.run(wait=wait)
        return task

    task = run(cluster, work)
    failed = {tp: error for tp, error in task.outcomes.items() if error is not None}
    if json:
        print_json(
            {
                "broker": broker_id,
                "dry_run": dry_run,
                "moves": [
                    {
                        "topic": tp.topic,
                        "partition": tp.partition,
                        "from": list(replicas),
                        "to": task.planned.get(tp),
                        "error": (error := failed.get(tp)) and error.code.name,
                    }
                    for tp, replicas in sorted(task.before.items())
                ],
            }
        )
    elif dry_run:
        rows = [[*tp, ids(task.before[tp]), ids(new)] for tp, new in sorted(task.planned.items())]
        print_table(["TOPIC", "PARTITION", "FROM", "TO"], rows)
    else:
        done = sum(error is None for error in task.outcomes.values())
        left = "" if failed else ", none left"
        say(f"broker {broker_id}: replicas {'moved' if wait else 'that move'}: {done}{left if wait else ''}")
    report_failures({str(tp): error for tp, error in sorted(failed.items(), key=lambda item: item[0])})


def unregister(cluster: Cluster, broker_id: int, *, force: bool, json: bool) -> None:
    async def work(client: Client) -> None:
        metadata = await client.metadata()
        if broker_id in metadata.brokers:
            raise CommandError(f"broker {broker_id} is there, or was a few seconds ago: stop it first")
        count = sum(broker_id in replicas for replicas in replicas_of(metadata).values())
        if count and not force:
            raise CommandError(f"broker {broker_id} has {count} replicas: decommission it first, or --force")
        await client_brokers.unregister_broker(client, broker_id)

    run(cluster, work)
    if json:
        print_json({"broker": broker_id, "unregistered": True})
    else:
        say(f"broker {broker_id}: unregistered")
