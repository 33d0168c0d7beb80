"""Groups, their members and their lag as JSON; the page asks again and again, and draws a chart of the answers.

Rules
- Lag is the high watermark minus the committed offset; null where the leader does not tell the former, and where a
  member has a partition of which nothing is committed yet.
- The list has the lag of MAX_GROUPS_WITH_LAG groups; of one group, at most MAX_PARTITIONS partitions and MAX_MEMBERS
  members are told, while its lag is that of all.
"""

from collections.abc import Mapping, Sequence

import attrs
from starlette.requests import Request

from pykbroker.client import Client
from pykbroker.client.groups import Group, ListedGroup, committed_offsets, describe_group, list_groups
from pykbroker.client.offsets import END, list_offsets_or_errors
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from pykbroker.web.console.api import Json, required

MAX_GROUPS = 2000
MAX_GROUPS_WITH_LAG = 50
MAX_PARTITIONS = 1000
MAX_MEMBERS = 500
_DESCRIBED = ("", "classic", "consumer")  # "": a broker that does not tell knows no other types


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
        groups = await list_groups(self._client)
        shown = []
        for number, group in enumerate(groups[:MAX_GROUPS]):
            shown.append(await self._listed(group, with_lag=number < MAX_GROUPS_WITH_LAG))
        return {"groups": shown, "left_out": len(groups) - len(shown)}

    async def _listed(self, group: ListedGroup, *, with_lag: bool) -> Mapping[str, Json]:
        lag: int | None = None
        members: int | None = None
        if with_lag and group.type in _DESCRIBED:
            try:
                described = await describe_group(self._client, group.id)
                members = len(described.members)
                lag = _total(await self._lags(described))
            except (KafkaError, OSError):  # it is gone, or moves: the next look tells
                pass
        return {
            "id": group.id,
            "state": group.state,
            "type": group.type or "classic",
            "protocol_type": group.protocol_type,
            "coordinator": group.coordinator,
            "members": members,
            "lag": lag,
        }

    async def group(self, request: Request) -> Mapping[str, Json]:
        """Describe one group; its id may be any text, so it stands in the query."""
        group_id = required(request, "id")
        group = await describe_group(self._client, group_id)
        lags = await self._lags(group)
        by_topic: dict[str, int] = {}
        for each in lags:
            by_topic[each.tp.topic] = by_topic.get(each.tp.topic, 0) + (each.lag or 0)
        owners = {tp: member.id for member in group.members for tp in member.partitions}
        return {
            "id": group.id,
            "state": group.state,
            "type": group.type,
            "assignor": group.assignor,
            "time_ms": self._client.clock.time_ms(),
            "lag": _total(lags),
            "lag_by_topic": by_topic,
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


def _total(lags: Sequence[PartitionLag]) -> int:
    return sum(each.lag or 0 for each in lags)


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
