"""Which transactional ids there are, and what each is doing."""

from typing import Any

import attrs

from pykbroker.client.client import Client, CoordinatorType, check
from pykbroker.client.connection import Question
from pykbroker.topic_partition import TopicPartition
from wire.messages.transactions import DescribeTransactionsRequest, ListTransactionsRequest


@attrs.frozen
class ListedTransaction:
    transactional_id: str
    producer_id: int
    state: str
    coordinator: int


@attrs.frozen
class Transaction:
    transactional_id: str
    state: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    start_time_ms: int  # -1: none is open
    partitions: tuple[TopicPartition, ...]


async def list_transactions(client: Client) -> list[ListedTransaction]:
    """Raises: NotServedError before Kafka 3.0; KafkaError, OSError."""
    found = []
    for broker_id in sorted((await client.metadata([])).brokers):

        async def ask(broker_id: int = broker_id) -> Any:
            answer = await client.ask_broker(broker_id, Question.of(ListTransactionsRequest()))
            check(answer.error_code)
            return answer

        for told in (await client.retry(ask)).transaction_states:
            found.append(ListedTransaction(told.transactional_id, told.producer_id, told.transaction_state, broker_id))
    return sorted(found, key=lambda each: each.transactional_id)


async def describe_transaction(client: Client, transactional_id: str) -> Transaction:
    """Raises: KafkaError, TRANSACTIONAL_ID_NOT_FOUND; NotServedError before Kafka 3.0."""
    answer = await client.ask_coordinator(
        CoordinatorType.TRANSACTION,
        transactional_id,
        Question.of(DescribeTransactionsRequest([transactional_id])),
        lambda answer: check(answer.transaction_states[0].error_code),
    )
    (told,) = answer.transaction_states
    return Transaction(
        transactional_id,
        told.transaction_state,
        told.producer_id,
        told.producer_epoch,
        told.transaction_timeout_ms,
        told.transaction_start_time_ms,
        tuple(TopicPartition(topic.topic, index) for topic in told.topics for index in topic.partitions),
    )
