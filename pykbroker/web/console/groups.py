"""Groups, their members and their lag as JSON; the page asks again and again, and draws a chart of the answers.

Rules
- Lag is the high watermark minus the committed offset; null where the leader does not tell the former, and where a
  member has a partition of which nothing is committed yet.
- A sum of lags is that of what is committed; null where a part of it is not known, so that no chart falls as if
  somebody had caught up.
- The list has the lag of MAX_GROUPS_WITH_LAG groups; of one group, at most MAX_PARTITIONS partitions and MAX_MEMBERS
  members are told, while its lag is that of all. Brokers that do not answer are named.
"""

from collections.abc import Mapping, Sequence

import anyio
import attrs
from starlette.requests import Request

from pykbroker.client import Client, NotServedError
from pykbroker.client.groups import Group, ListedGroup, committed_offsets, describe_group, list_groups_of
from pykbroker.client.offsets import END, list_offsets_or_errors
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from pykbroker.web.console.api import Json, text_param

MAX_GROUPS = 2000
MAX_GROUPS_WITH_LAG = 50
MAX_PARTITIONS = 1000
MAX_MEMBERS = 500
MAX_AT_ONCE = 8  # groups that are asked about together
DESCRIBED_TYPES = ("", "classic", "consumer")  # "": a broker that does not tell knows no other types


@attrs.frozen
class PartitionLag:
    tp: TopicPartition
    committed: int | None
    end: int | None

    @property
    def lag(self) -> int | None:
        return None if self.end is None or self.committed is None else max(self.end - self.committed, 0)


class GroupPages:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def groups(self, request: Request) -> Mapping[str, Json]:
        """List the groups whose id contains what the query says."""
        listed, unreachable = await self._list()
        contains = request.query_params.get("contains", "")
        groups = sorted((group for group in listed if contains in group.id), key=lambda group: group.id)
        shown = groups[:MAX_GROUPS]
        details: dict[str, tuple[int, int | None]] = {}
        limiter = anyio.CapacityLimiter(MAX_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for group in shown[:MAX_GROUPS_WITH_LAG]:
                if group.type in DESCRIBED_TYPES:
                    tasks.start_soon(self._detail, group.id, details, limiter)
        return {
            "groups": [
                {
                    "id": group.id,
                    "state": group.state,
                    "type": group.type or "classic",
                    "is_described": group.type in DESCRIBED_TYPES,
                    "protocol_type": group.protocol_type,
                    "coordinator": group.coordinator,
                    "members": details.get(group.id, (None, None))[0],
                    "lag": details.get(group.id, (None, None))[1],
                }
                for group in shown
            ],
            "left_out": len(groups) - len(shown),
            "without_lag": max(len(shown) - MAX_GROUPS_WITH_LAG, 0),
            "unreachable_brokers": unreachable,
        }

    async def _list(self) -> tuple[list[ListedGroup], list[int]]:
        """Return the groups of the brokers that answer, and the brokers that do not."""
        listed: list[ListedGroup] = []
        unreachable: list[int] = []

        async def ask(broker_id: int) -> None:
            try:
                listed.extend(await list_groups_of(self._client, broker_id))
            except (KafkaError, OSError, NotServedError):
                unreachable.append(broker_id)

        async with anyio.create_task_group() as tasks:
            for broker_id in (await self._client.metadata([])).brokers:
                tasks.start_soon(ask, broker_id)
        return listed, sorted(unreachable)

    async def _detail(
        self, group_id: str, details: dict[str, tuple[int, int | None]], limiter: anyio.CapacityLimiter
    ) -> None:
        async with limiter:
            try:
                group = await describe_group(self._client, group_id)
                details[group_id] = len(group.members), total_lag(await self._lags(group))
            except (KafkaError, OSError, NotServedError):  # it is gone, or moves: the next look tells
                pass

    async def group(self, request: Request) -> Mapping[str, Json]:
        """Describe one group; its id may be any text, so it stands in the query."""
        group_id = text_param(request, "id")
        group = await describe_group(self._client, group_id)
        lags = await self._lags(group)
        by_topic: dict[str, list[PartitionLag]] = {}
        for each in lags:
            by_topic.setdefault(each.tp.topic, []).append(each)
        owners = {tp: member.id for member in group.members for tp in member.partitions}
        return {
            "id": group.id,
            "state": group.state,
            "type": group.type,
            "assignor": group.assignor,
            "time_ms": self._client.clock.time_ms(),
            "lag": total_lag(lags),
            "lag_by_topic": {topic: total_lag(of_topic) for topic, of_topic in by_topic.items()},
            "members": _members(group),
            "members_left_out": max(len(group.members) - MAX_MEMBERS, 0),
            "partitions": [
                {
                    "topic": each.tp.topic,
                    "partition": each.tp.partition,
                    "committed": each.committed,
                    "end": each.end,
                    "lag": each.lag,
                    "member": owners.get(each.tp),
                }
                for each in lags[:MAX_PARTITIONS]
            ],
            "partitions_left_out": max(len(lags) - MAX_PARTITIONS, 0),
        }

    async def _lags(self, group: Group) -> Sequence[PartitionLag]:
        committed = await committed_offsets(self._client, group.id)
        partitions = committed.keys() | {tp for member in group.members for tp in member.partitions}
        ends = await list_offsets_or_errors(self._client, dict.fromkeys(partitions, END))
        lags = []
        for tp in sorted(partitions):
            end = ends.get(tp)
            offset = committed[tp].offset if tp in committed else None
            lags.append(PartitionLag(tp, offset, end if isinstance(end, int) else None))
        return lags


def total_lag(lags: Sequence[PartitionLag]) -> int | None:
    """Add up the lag of what is committed; None where a part of it is not known, or nothing is committed."""
    committed = [each for each in lags if each.committed is not None]
    known = [each.lag for each in committed if each.lag is not None]
    return sum(known) if known and len(known) == len(committed) else None


def _members(group: Group) -> list[Mapping[str, Json]]:
    return [
        {
            "id": member.id,
            "instance_id": member.instance_id,
            "client_id": member.client_id,
            "host": member.host,
            "partitions": [f"{tp.topic}-{tp.partition}" for tp in sorted(member.partitions)[:MAX_PARTITIONS]],
        }
        for member in group.members[:MAX_MEMBERS]
    ]
