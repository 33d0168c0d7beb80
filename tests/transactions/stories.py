"""Run stories of transactional producers: text scripts with the expected output below each command (text_stories.py).

    init p              producer p asks for its id; what it is told it goes on with
    ----
    p: producer 1 epoch 0

Commands (options are key=value; a producer has the transactional id of its name unless it is given as id=)
    init P [id= timeout= expected=EPOCH]    with `expected` it tells its id and that epoch, to go on with them
    add P TP,...  |  produce P TP [sequence= epoch=]  |  offsets P GROUP OFFSET [member= generation=]
    commit P | abort P [epoch=]
    old P               from now on it speaks the protocol of transactions version 1
    epoch P N           the id is as if it had been used so often: its epoch is N
    state P             what the coordinator knows that is committed
    log TP              the batches of a partition, data or marker, with producer id and epoch
    read TP             what a read_committed consumer reads, up to the last stable offset
    committed GROUP     the group's offsets
    hold TOPIC | let TOPIC    what is written to it is not committed, until it is let go on
    move                the coordinator's partition is led elsewhere and comes back: all is read from the log again
    lose TOPIC | regain TOPIC    its partitions have no leader here for a while
    delete TOPIC        advance MS
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from pykbroker.groups.coordinator import OFFSETS_TOPIC
from pykbroker.topic_partition import TopicPartition
from pykbroker.transactions.coordinator import TRANSACTION_TOPIC
from pykbroker.transactions.records import transaction_record
from pykbroker.transactions.state import ProducerIdNeeded
from tests.handlers.rig import (
    ANOTHER_BROKER,
    BROKER_ID,
    OFFSETS_TOPIC_ID,
    TOPIC_ID,
    TRANSACTION_TOPIC_ID,
    Answered,
    HandlerRig,
    topic,
)
from wire.errors import ErrorCode
from wire.messages.group_offsets import OffsetFetchRequest, OffsetFetchRequestGroup
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.transactions import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
    EndTxnRequest,
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from wire.records import Record, build_batch, iter_batches, read_end_txn_marker, read_records

Options = dict[str, str]
TOPICS = {"t": (TOPIC_ID, 2), OFFSETS_TOPIC: (OFFSETS_TOPIC_ID, 1), TRANSACTION_TOPIC: (TRANSACTION_TOPIC_ID, 1)}
WITH_ANOTHER = (BROKER_ID, ANOTHER_BROKER)
NOBODY = -1
EXPIRATION_MS = 3 * 3_600_000  # a week, as in Kafka, would be a million rounds of what is done regularly


@attrs.define
class Producer:
    """What a producer remembers."""

    name: str
    transactional_id: str
    producer_id: int = -1
    epoch: int = -1
    is_old: bool = False
    sequences: dict[str, int] = attrs.field(factory=dict)


class Story:
    def __init__(self, folder: Path, properties: Options | None = None) -> None:
        self.rig = HandlerRig(folder, {"transactional.id.expiration.ms": str(EXPIRATION_MS), **(properties or {})})
        self.output: list[str] = []
        self._producers: dict[str, Producer] = {}
        self._numbers = itertools.count(1)
        self._isr: dict[str, tuple[int, ...]] = {}
        self._leader: dict[str, int] = {}
        self._topics = dict(TOPICS)
        self._apply()

    def run(self, command: str) -> str:
        self.output = []
        name, *arguments = command.split()
        options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
        words = [argument for argument in arguments if "=" not in argument]
        getattr(self, f"_do_{name}")(words, options)
        return "".join(f"{line}\n" for line in self.output)

    def _apply(self) -> None:
        self.rig.set_topics(
            *[
                topic(
                    name,
                    topic_id,
                    count,
                    leader=self._leader.get(name, BROKER_ID),
                    isr=self._isr.get(name, (BROKER_ID,)),
                )
                for name, (topic_id, count) in self._topics.items()
            ]
        )

    def _say(self, line: str) -> None:
        self.output.append(line)

    def _producer(self, name: str) -> Producer:
        return self._producers.setdefault(name, Producer(name, name))

    def _await(self, producer: Producer, answered: Answered, describe: Callable[[Any], str]) -> None:
        """Say what the answer is, now or when it comes."""
        if answered.parked is None:
            self._say(f"{producer.name}: {describe(answered.response)}")
            return
        self._say(f"{producer.name}: waits")
        deliver = answered.parked.deliver
        assert deliver is not None

        def arrive(build: Callable[[], object]) -> None:
            deliver(build)
            self._say(f"{producer.name}: {describe(answered.response)}")

        answered.parked.deliver = arrive

    # What producers do

    def _do_old(self, words: list[str], _: Options) -> None:
        self._producer(words[0]).is_old = True

    def _do_init(self, words: list[str], options: Options) -> None:
        producer = self._producer(words[0])
        producer.transactional_id = options.get("id", producer.transactional_id)
        is_answered = False

        def told(error: ErrorCode, producer_id: int, producer_epoch: int) -> None:
            nonlocal is_answered
            is_answered = True
            if error is not ErrorCode.NONE:
                self._say(f"{producer.name}: {error.name}")
                return
            producer.producer_id, producer.epoch = producer_id, producer_epoch
            producer.sequences.clear()
            self._say(f"{producer.name}: producer {producer_id} epoch {producer_epoch}")

        def ask(new_producer_id: int | None) -> None:
            self.rig.transactions.shard_for(producer.transactional_id).init_producer_id(
                producer.transactional_id,
                expected=(producer.producer_id, int(options["expected"])) if "expected" in options else None,
                timeout_ms=int(options.get("timeout", 60_000)),
                new_producer_id=new_producer_id,
                told=told,
            )

        self._with_new_id(ask)
        if not is_answered:
            self._say(f"{producer.name}: waits")

    def _with_new_id(self, ask: Callable[[int | None], None]) -> None:
        try:
            ask(None)
        except ProducerIdNeeded:
            ask(next(self._numbers))

    def _do_add(self, words: list[str], _: Options) -> None:
        producer = self._producer(words[0])
        partitions: dict[str, list[int]] = {}
        for name, index in (parse(each) for each in words[1].split(",")):
            partitions.setdefault(name, []).append(index)
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=producer.transactional_id,
            v3_and_below_producer_id=producer.producer_id,
            v3_and_below_producer_epoch=producer.epoch,
            v3_and_below_topics=[AddPartitionsToTxnTopic(name, indexes) for name, indexes in partitions.items()],
        )
        self._await(producer, self.rig.send(request, 3), _added)

    def _do_produce(self, words: list[str], options: Options) -> None:
        producer = self._producer(words[0])
        name, index = parse(words[1])
        due = producer.sequences.get(words[1], 0)
        sequence = int(options.get("sequence", due))
        records = build_batch(
            [Record(timestamp=self.rig.clock.time_ms(), value=f"{producer.name}{sequence}".encode())],
            producer_id=producer.producer_id,
            producer_epoch=int(options.get("epoch", producer.epoch)),
            base_sequence=sequence,
            is_transactional=True,
        )
        request = ProduceRequest(
            transactional_id=producer.transactional_id,
            acks=-1,
            timeout_ms=30_000,
            topic_data=[TopicProduceData(name, TOPIC_ID, [PartitionProduceData(index, records)])],
        )

        def produced(response: Any) -> str:
            answer = response.responses[0].partition_responses[0]
            if answer.error_code:
                return f"produce: {ErrorCode(answer.error_code).name}"
            producer.sequences[words[1]] = sequence + 1
            return f"at {answer.base_offset}"

        self._await(producer, self.rig.send(request, 11 if producer.is_old else 12), produced)

    def _do_offsets(self, words: list[str], options: Options) -> None:
        producer = self._producer(words[0])
        who = {
            "transactional_id": producer.transactional_id,
            "producer_id": producer.producer_id,
            "producer_epoch": producer.epoch,
            "group_id": words[1],
        }
        if producer.is_old:
            self._await(producer, self.rig.send(AddOffsetsToTxnRequest(**who), 3), _error)
        request = TxnOffsetCommitRequest(
            **who,
            generation_id_or_member_epoch=int(options.get("generation", -1)),
            member_id=options.get("member", ""),
            topics=[
                TxnOffsetCommitRequestTopic(
                    name="t",
                    partitions=[TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=int(words[2]))],
                )
            ],
        )
        self._await(
            producer,
            self.rig.send(request, 3 if producer.is_old else 5),
            lambda response: f"offsets: {ErrorCode(response.topics[0].partitions[0].error_code).name}",
        )

    def _do_commit(self, words: list[str], options: Options) -> None:
        self._end(words[0], options, committed=True)

    def _do_abort(self, words: list[str], options: Options) -> None:
        self._end(words[0], options, committed=False)

    def _end(self, name: str, options: Options, *, committed: bool) -> None:
        producer = self._producer(name)
        epoch = int(options.get("epoch", producer.epoch))
        word = "committed" if committed else "aborted"
        if not producer.is_old:

            def told(error: ErrorCode, producer_id: int, producer_epoch: int) -> None:
                if error is not ErrorCode.NONE:
                    self._say(f"{name}: {error.name}")
                    return
                producer.producer_id, producer.epoch = producer_id, producer_epoch
                producer.sequences.clear()
                self._say(f"{name}: {word}, now producer {producer_id} epoch {producer_epoch}")

            shard = self.rig.transactions.shard_for(producer.transactional_id)
            self._with_new_id(
                lambda new: shard.end(
                    producer.transactional_id,
                    producer.producer_id,
                    epoch,
                    commit=committed,
                    client_version=2,
                    new_producer_id=new,
                    told=told,
                )
            )
            return
        request = EndTxnRequest(
            transactional_id=producer.transactional_id,
            producer_id=producer.producer_id,
            producer_epoch=epoch,
            committed=committed,
        )
        self._await(producer, self.rig.send(request, 4), lambda response: f"{word}: {_error(response)}")

    def _do_epoch(self, words: list[str], _: Options) -> None:
        """Write the state of the id with another epoch, and have it read again."""
        producer = self._producer(words[0])
        known = self.rig.transactions.shard_for(producer.transactional_id).transactions[producer.transactional_id]
        record = transaction_record(attrs.evolve(known, producer_epoch=int(words[1])), 2)
        batch = build_batch([Record(timestamp=self.rig.clock.time_ms(), key=record.key, value=record.value)])
        self.rig.replicas.append_internal(TopicPartition(TRANSACTION_TOPIC, 0), batch)
        producer.epoch = int(words[1])
        self._do_move([], {})

    # What there is

    def _do_state(self, words: list[str], _: Options) -> None:
        transactional_id = self._producer(words[0]).transactional_id
        found = self.rig.transactions.shard_for(transactional_id).transactions.get(transactional_id)
        if found is None:
            self._say("unknown")
            return
        partitions = " ".join(map(str, sorted(found.partitions)))
        self._say(f"{found.state.label} producer {found.producer_id} epoch {found.producer_epoch} [{partitions}]")

    def _do_log(self, words: list[str], _: Options) -> None:
        log = self.rig.replicas.partition(*parse(words[0])).log
        data = log.read(0, 1 << 20, end_offset=log.log_end_offset, min_one_batch=True)
        if data is None:
            return
        for header, raw in iter_batches(data.read()):
            marker = read_end_txn_marker(read_records(raw)[0]) if header.is_control else None
            kind = "data" if marker is None else marker[0].name
            self._say(f"{header.base_offset} {kind} {header.producer_id}/{header.producer_epoch}")

    def _do_read(self, words: list[str], _: Options) -> None:
        partition = self.rig.replicas.partition(*parse(words[0]))
        end_offset = partition.last_stable_offset
        data = partition.log.read(0, 1 << 20, end_offset=end_offset, min_one_batch=True)
        aborted = partition.log.aborted_transactions(0, end_offset, 1 << 20)
        values = []
        for header, raw in iter_batches(data.read() if data is not None else b""):
            is_aborted = any(
                each.producer_id == header.producer_id and each.first_offset <= header.base_offset < each.last_offset
                for each in aborted
            )
            if not header.is_control and not is_aborted:
                values += [(record.value or b"").decode() for record in read_records(raw)]
        self._say(f"[{' '.join(values)}] up to {end_offset}")

    def _do_committed(self, words: list[str], _: Options) -> None:
        for stable in (False, True):
            request = OffsetFetchRequest(
                groups=[OffsetFetchRequestGroup(group_id=words[0], topics=None)], require_stable=stable
            )
            (group,) = self.rig.call(request, 9).groups
            rows = [row for found in group.topics for row in found.partitions]
            shown = [row.committed_offset if not row.error_code else ErrorCode(row.error_code).name for row in rows]
            self._say(f"{'stable' if stable else 'any'}: {' '.join(map(str, shown)) or 'none'}")

    # What happens to brokers

    def _do_hold(self, words: list[str], _: Options) -> None:
        self._isr[words[0]] = WITH_ANOTHER
        self._apply()

    def _do_let(self, words: list[str], _: Options) -> None:
        del self._isr[words[0]]
        self._apply()

    def _do_move(self, _words: list[str], _options: Options) -> None:
        self._do_lose([TRANSACTION_TOPIC], {})
        self._do_regain([TRANSACTION_TOPIC], {})

    def _do_lose(self, words: list[str], _: Options) -> None:
        self._leader[words[0]] = NOBODY
        self._apply()

    def _do_regain(self, words: list[str], _: Options) -> None:
        del self._leader[words[0]]
        self._apply()

    def _do_delete(self, words: list[str], _: Options) -> None:
        del self._topics[words[0]]
        self._apply()

    def _do_advance(self, words: list[str], _: Options) -> None:
        self.rig.clock.advance(int(words[0]))


def parse(text: str) -> TopicPartition:
    name, _, index = text.rpartition("-")
    return TopicPartition(name, int(index))


def _error(response: Any) -> str:
    return ErrorCode(response.error_code).name


def _added(response: Any) -> str:
    codes = {
        ErrorCode(row.partition_error_code).name
        for found in response.results_by_topic_v3_and_below
        for row in found.results_by_partition
    }
    return f"add: {' '.join(sorted(codes))}"
