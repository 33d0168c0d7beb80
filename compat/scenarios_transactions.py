"""The scenarios of README.md about transactions. Shared by the Python clients."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from library import Consumer, Library, Message, Partition, Send, expect_error
from program import Context, check, equal
from scenarios import joined, read, read_nothing

ROUND = 20


def transactions(library: Library, context: Context) -> None:
    topic, transactional_id = context.name(), context.name("id")
    library.create_topic(topic, partitions=2)
    with closing(library.transactional_producer(transactional_id)) as first:
        for number, ends in enumerate((first.commit, first.abort, first.commit)):
            first.begin()
            first.produce(_round(topic, f"{number}"))
            ends()
        first.begin()
        first.produce(_round(topic, "open"))
        with closing(_reader(library, topic, read_committed=True)) as consumer:
            messages = read(consumer, 2 * ROUND, context)
            equal(_values(messages), _expected("0") + _expected("2"), "committed records")
            read_nothing(consumer, "after the committed records")
            with closing(_reader(library, topic, read_committed=False)) as everything:
                values = _values(read(everything, 3 * ROUND, context))
                check("open-0" in values, "a read_uncommitted consumer does not see the open transaction")
            with closing(library.transactional_producer(transactional_id)) as second:
                second.begin()
                second.produce(_round(topic, "3"))
                expect_error("PRODUCER_FENCED", "commit of the first producer", first.commit)
                second.commit()
                equal(_values(read(consumer, ROUND, context)), _expected("3"), "records of the second producer")
                read_nothing(consumer, "after the records of the second producer")


def transactional_offsets(library: Library, context: Context) -> None:
    source, sink, group = context.name("source"), context.name("sink"), context.name("group")
    library.create_topic(source)
    library.create_topic(sink, partitions=2)
    with closing(library.producer()) as producer:
        producer.produce([Send(source, b"%d" % index, partition=0) for index in range(ROUND)])
    partition = Partition(source, 0)
    with (
        closing(joined(library, group, source)) as consumer,
        closing(library.transactional_producer(context.name("id"))) as producer,
    ):
        equal(len(read(consumer, ROUND, context)), ROUND, "number of records read")
        for text, ends, expected in (("0", producer.abort, None), ("1", producer.commit, ROUND)):
            producer.begin()
            producer.produce(_round(sink, text))
            producer.send_offsets(consumer, {partition: ROUND})
            ends()
            context.wait_until(
                f"the committed offset is {expected}",
                lambda expected=expected: _offset(consumer, partition) == expected,
            )
    with closing(_reader(library, sink, read_committed=True)) as consumer:
        equal(_values(read(consumer, ROUND, context)), _expected("1"), "records of the transaction that committed")
        read_nothing(consumer, "after the records of the transaction that committed")


def _offset(consumer: Consumer, partition: Partition) -> int | None:
    committed = consumer.committed(partition)
    return None if committed is None else committed[0]


def _round(topic: str, text: str) -> list[Send]:
    return [Send(topic, f"{text}-{index}".encode(), partition=index % 2) for index in range(ROUND)]


def _expected(text: str) -> list[str]:
    """Return the values of a round, those of partition 0 first."""
    return [f"{text}-{index}" for part in (0, 1) for index in range(part, ROUND, 2)]


def _values(messages: list[Message]) -> list[str]:
    """Return the values, round by round as they were written, those of partition 0 first."""
    texts = [(message.partition, (message.value or b"").decode()) for message in sorted(messages, key=_place)]
    rounds = dict.fromkeys(text.split("-")[0] for _, text in texts)
    return [text for each in sorted(rounds) for _, text in texts if text.split("-")[0] == each]


def _place(message: Message) -> tuple[int, int]:
    return message.partition, message.offset


def _reader(library: Library, topic: str, *, read_committed: bool) -> Consumer:
    consumer = library.consumer(read_committed=read_committed)
    partitions = [Partition(topic, 0), Partition(topic, 1)]
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek_to_beginning(partition)
    return consumer


def transaction_scenarios() -> dict[str, Callable[[Library, Context], None]]:
    """Return the scenarios of this file by name."""
    return {"transactions": transactions, "transactional_offsets": transactional_offsets}
