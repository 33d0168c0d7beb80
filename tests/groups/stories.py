"""Run stories of classic groups: text scripts with the expected output below each command.

    join a session=10000            a client joins; from then on it uses the member id that it was given
    ----
    a: MEMBER_ID_REQUIRED, is now a-1

Commands (options are key=value; lists are separated by commas; a client's joins keep their options)
    join CLIENT [version= instance= member= protocols=name:metadata,... type= session= rebalance= uses=CLIENT]
    sync CLIENT [generation= instance= protocol= assign=CLIENT:text,...]
    heartbeat CLIENT [generation= instance=]     leave CLIENT... [instance=]     kick instance=
    die CLIENT           its connection dies while an answer waits
    advance MS           time passes
    group                what the group is now
    log fails CODE | log holds | log goes on     what becomes of the records that are written from now on
    reload               the group is rebuilt from its last record, as by a new coordinator
    settings key=value   before the first join

Rules: a blank line ends an output; lines that begin with # are comments. Run with PYKBROKER_REWRITE_STORIES=1 to write
what happens into the files, and read the difference before you keep it.
"""

import itertools
from collections.abc import Callable

import attrs

from pykbroker.clock import SimulatedClock
from pykbroker.groups.classic_group import ClassicGroup
from pykbroker.groups.classic_protocol import ClassicProtocol, ClientIdentity
from pykbroker.groups.classic_rounds import ClassicRounds
from pykbroker.groups.counts import GroupCounts
from pykbroker.groups.records import GroupMetadataRecord, classic_group, decode_record
from pykbroker.groups.settings import GroupSettings
from pykbroker.replication.coordinator_log import CoordinatorRecord
from pykbroker.waiters import Answer
from wire.errors import ErrorCode
from wire.messages.classic_groups import (
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
    MemberIdentity,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)

GROUP_ID = "g"
Options = dict[str, str]
Done = Callable[[ErrorCode], None]


@attrs.define
class Client:
    """What a client remembers between its requests."""

    name: str
    member_id: str = ""
    generation_id: int = -1
    protocol_type: str = "consumer"
    protocols: str = "range:t"
    options: Options = attrs.field(factory=dict)  # of its joins, which stay the same unless told
    waiting: "Answer[JoinGroupResponse] | Answer[SyncGroupResponse] | None" = None


class Story:
    def __init__(self) -> None:
        self.output: list[str] = []
        self._settings = GroupSettings()
        self._clock = SimulatedClock()
        self._numbers = itertools.count(1)
        self._groups: dict[str, ClassicGroup] = {}
        self._clients: dict[str, Client] = {}
        self._held: list[Done] | None = None
        self._failure = ErrorCode.NONE
        self._last_record: CoordinatorRecord | None = None
        self._protocol = self._build()

    def _build(self) -> ClassicProtocol:
        rounds = ClassicRounds(self._settings, self._clock, self._commit, GroupCounts())
        return ClassicProtocol(rounds, self._clock, self._groups.get, self._add_group, lambda: str(next(self._numbers)))

    def _add_group(self, group: ClassicGroup) -> None:
        self._groups[group.group_id] = group

    def run(self, command: str) -> str:
        self.output = []
        name, *arguments = command.split()
        options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
        words = [argument for argument in arguments if "=" not in argument]
        getattr(self, f"_do_{name}")(words, options)
        return "".join(f"{line}\n" for line in self.output)

    # The log

    def _commit(self, records: list[CoordinatorRecord], done: Done) -> None:
        (record,) = records
        decoded = decode_record(record.key, record.value, 0)
        assert isinstance(decoded, GroupMetadataRecord)
        assert decoded.value is not None
        members = " ".join(f"{each.member_id}={bytes(each.assignment).decode()}" for each in decoded.value.members)
        self.output.append(f"log: generation {decoded.value.generation} leader {decoded.value.leader} [{members}]")
        if self._held is not None:
            self._held.append(done)
        else:
            if self._failure is ErrorCode.NONE:
                self._last_record = record
            done(self._failure)

    def _do_log(self, words: list[str], _: Options) -> None:
        if words[0] == "fails":
            self._failure = ErrorCode[words[1]]
        elif words[0] == "holds":
            self._held = []
        else:
            self._failure = ErrorCode.NONE
            held, self._held = self._held or [], None
            for done in held:
                done(ErrorCode.NONE)

    # Clients

    def _client(self, name: str) -> Client:
        return self._clients.setdefault(name, Client(name))

    def _do_join(self, words: list[str], options: Options) -> None:
        client = self._client(words[0])
        client.options |= {name: value for name, value in options.items() if name != "member"}
        options = {**client.options, **options}
        client.protocols = options.get("protocols", client.protocols)
        client.protocol_type = options.get("type", client.protocol_type)
        request = JoinGroupRequest(
            group_id=GROUP_ID,
            session_timeout_ms=int(options.get("session", 10_000)),
            rebalance_timeout_ms=int(options.get("rebalance", 60_000)),
            member_id=options.get("member", client.member_id),
            group_instance_id=options.get("instance"),
            protocol_type=client.protocol_type,
            protocols=[
                JoinGroupRequestProtocol(name=name, metadata=metadata.encode())
                for name, metadata in (each.split(":") for each in client.protocols.split(",") if each)
            ],
        )
        identity = ClientIdentity(client.name, "/127.0.0.1", int(options.get("version", 9)))
        self._await(client, self._protocol.join(request, identity), lambda answer: self._joined(client, answer))

    def _joined(self, client: Client, response: JoinGroupResponse) -> str:
        error = ErrorCode(response.error_code)
        if response.member_id and error is not ErrorCode.FENCED_INSTANCE_ID:
            client.member_id = response.member_id
        if error is ErrorCode.MEMBER_ID_REQUIRED:
            return f"{error.name}, is now {client.member_id}"
        if error is not ErrorCode.NONE:
            if error is ErrorCode.UNKNOWN_MEMBER_ID:
                client.member_id = ""
            return f"join: {error.name}"
        client.generation_id = response.generation_id
        members = " ".join(f"{each.member_id}={bytes(each.metadata).decode()}" for each in response.members)
        skips = ", skips assignment" if response.skip_assignment else ""
        return (
            f"joined generation {response.generation_id} as {response.member_id}, "
            f"{response.protocol_type}/{response.protocol_name}, leader {response.leader} [{members}]{skips}"
        )

    def _do_sync(self, words: list[str], options: Options) -> None:
        client = self._client(words[0])
        assigned = [each.split(":") for each in options.get("assign", "").split(",") if each]
        request = SyncGroupRequest(
            group_id=GROUP_ID,
            generation_id=int(options.get("generation", client.generation_id)),
            member_id=options.get("member", client.member_id),
            group_instance_id=options.get("instance", client.options.get("instance")),
            protocol_type=client.protocol_type,
            protocol_name=options.get("protocol"),
            assignments=[
                SyncGroupRequestAssignment(member_id=self._client(name).member_id, assignment=text.encode())
                for name, text in assigned
            ],
        )
        self._await(client, self._protocol.sync(request), self._synced)

    def _synced(self, response: SyncGroupResponse) -> str:
        error = ErrorCode(response.error_code)
        if error is not ErrorCode.NONE:
            return f"sync: {error.name}"
        return f"assigned {bytes(response.assignment).decode()!r}"

    def _await(self, client: Client, answer: "Answer[object]", describe: Callable[..., str]) -> None:
        def deliver(build: Callable[[], object]) -> None:
            if client.waiting is answer:
                client.waiting = None
            self.output.append(f"{client.name}: {describe(build())}")

        if answer.response is not None:
            deliver(lambda: answer.response)
        else:
            client.waiting = answer
            answer.parked.deliver = deliver
            self.output.append(f"{client.name}: waits")

    def _do_heartbeat(self, words: list[str], options: Options) -> None:
        client = self._client(words[0])
        request = HeartbeatRequest(
            group_id=GROUP_ID,
            generation_id=int(options.get("generation", client.generation_id)),
            member_id=options.get("member", client.member_id),
            group_instance_id=options.get("instance", client.options.get("instance")),
        )
        self.output.append(f"{client.name}: heartbeat: {self._protocol.heartbeat(request).name}")

    def _do_leave(self, words: list[str], options: Options) -> None:
        members = [
            MemberIdentity(member_id=self._client(name).member_id, group_instance_id=options.get("instance"))
            for name in words
        ]
        self._leave(members)

    def _do_kick(self, _: list[str], options: Options) -> None:
        self._leave([MemberIdentity(group_instance_id=options["instance"])])

    def _leave(self, members: list[MemberIdentity]) -> None:
        for left in self._protocol.leave(GROUP_ID, members):
            name = left.member_id or left.group_instance_id
            self.output.append(f"leave of {name}: {ErrorCode(left.error_code).name}")

    def _do_die(self, words: list[str], _: Options) -> None:
        waiting = self._client(words[0]).waiting
        assert waiting is not None, "it does not wait"
        waiting.parked.cancel()

    # Time and state

    def _do_advance(self, words: list[str], _: Options) -> None:
        self._clock.advance(int(words[0]))

    def _do_group(self, _words: list[str], _options: Options) -> None:
        group = self._groups.get(GROUP_ID)
        if group is None:
            self.output.append("no group")
            return
        members = " ".join(f"{each.member_id}={each.assignment.decode()}" for each in group.members.values())
        pending = f" pending [{' '.join(group.pending_members)}]" if group.pending_members else ""
        self.output.append(
            f"{group.state} generation {group.generation_id} {group.protocol_type}/{group.protocol_name} "
            f"leader {group.leader_id} [{members}]{pending}"
        )

    def _do_reload(self, _words: list[str], _options: Options) -> None:
        former = self._groups.pop(GROUP_ID)
        self._protocol.rounds.unloaded(former)
        assert self._last_record is not None
        decoded = decode_record(self._last_record.key, self._last_record.value, 0)
        assert isinstance(decoded, GroupMetadataRecord)
        assert decoded.value is not None
        self._groups[GROUP_ID] = classic_group(GROUP_ID, decoded.value)
        self._protocol.rounds.loaded(self._groups[GROUP_ID])

    def _do_settings(self, _: list[str], options: Options) -> None:
        self._settings = attrs.evolve(self._settings, **{name: int(value) for name, value in options.items()})
        self._protocol = self._build()
