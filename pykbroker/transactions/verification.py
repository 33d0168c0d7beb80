"""Asks the coordinator whether a transaction includes the partitions that a producer writes to, or has it include them.

Owns: the questions on their way, by transactional id.
Rules
- One question at a time for each transactional id, in the order in which they were asked, so that the batches that
  wait for the answers are appended in their order.
- A transaction that is to include a partition while the one before it is being completed is asked for again, for
  `add.partitions.to.txn.retry.backoff.max.ms`: that takes less than a producer's own pause.
- What waits holds the batches of its request, so there is a limit for each transactional id: beyond it producers try
  again.
- Producers know INVALID_PRODUCER_EPOCH where a coordinator says PRODUCER_FENCED.
Not here: what waits for the answer (handlers), what the coordinator decides (shard).
Source: KIP-890; Kafka's AddPartitionsToTxnManager.
"""

from collections import deque
from collections.abc import Callable

import attrs

from pykbroker.clock import Clock
from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from pykbroker.transactions.coordinator import TRANSACTION_TOPIC, TransactionCoordinator
from pykbroker.transactions.other_brokers import OtherBrokers
from wire.errors import ErrorCode

Errors = dict[TopicPartition, ErrorCode]  # what is missing or NONE is well


@attrs.frozen
class Question:
    transactional_id: str
    producer_id: int
    producer_epoch: int
    partitions: tuple[TopicPartition, ...]
    add: bool  # have the transaction include them


@attrs.frozen
class _Asked:
    question: Question
    done: Callable[[Errors], None]
    retries_end_ms: float


@attrs.define(eq=False)
class _Queue:
    """The questions about one transactional id; the first one may be on its way."""

    asked: deque[_Asked] = attrs.field(factory=deque)
    is_out: bool = False
    is_running: bool = False


class TransactionVerifier:
    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        cluster: Cluster,
        coordinator: TransactionCoordinator,
        brokers: OtherBrokers,
    ) -> None:
        self._config = config
        self._clock = clock
        self._cluster = cluster
        self._coordinator = coordinator
        self._brokers = brokers
        self._queues: dict[str, _Queue] = {}

    def is_busy(self, transactional_id: str) -> bool:
        """Say whether an earlier question about the transactional id is not answered."""
        return transactional_id in self._queues

    def ask(self, question: Question, done: Callable[[Errors], None]) -> None:
        """Ask, after earlier questions about the same transactional id; `done` is told at once or later."""
        queue = self._queues.setdefault(question.transactional_id, _Queue())
        if len(queue.asked) >= self._config.pykbroker_max_waiting_transaction_checks:
            done(dict.fromkeys(question.partitions, ErrorCode.COORDINATOR_NOT_AVAILABLE))
            return
        config = self._config
        retries_ms = min(config.add_partitions_to_txn_retry_backoff_max_ms, config.request_timeout_ms)
        queue.asked.append(_Asked(question, done, self._clock.monotonic_ms() + retries_ms))
        self._run(question.transactional_id, queue)

    def _run(self, transactional_id: str, queue: _Queue) -> None:
        """Put the questions that are next, as long as they are answered at once."""
        if queue.is_running:
            return
        queue.is_running = True
        try:
            while queue.asked and not queue.is_out:
                queue.is_out = True
                self._put_first(transactional_id, queue)
        finally:
            queue.is_running = False
            if not queue.asked:
                del self._queues[transactional_id]

    def _put_first(self, transactional_id: str, queue: _Queue) -> None:
        self._put(queue.asked[0].question, lambda errors: self._answered(transactional_id, queue, errors))

    def _answered(self, transactional_id: str, queue: _Queue, errors: Errors) -> None:
        asked = queue.asked[0]
        if (
            asked.question.add
            and ErrorCode.CONCURRENT_TRANSACTIONS in errors.values()
            and self._clock.monotonic_ms() < asked.retries_end_ms
        ):
            backoff_ms = self._config.add_partitions_to_txn_retry_backoff_ms
            self._clock.call_later(backoff_ms, lambda: self._put_first(transactional_id, queue))
            return
        queue.asked.popleft()
        queue.is_out = False
        try:
            asked.done({where: _for_producers(error) for where, error in errors.items() if error})
        finally:
            self._run(transactional_id, queue)

    def _put(self, question: Question, answered: Callable[[Errors], None]) -> None:
        if not question.partitions:
            answered({})
            return
        index = self._coordinator.partition_for(question.transactional_id)
        partition = self._cluster.image.partition(TRANSACTION_TOPIC, index)
        if partition is None or partition.leader < 0:
            answered(dict.fromkeys(question.partitions, ErrorCode.COORDINATOR_NOT_AVAILABLE))
        elif partition.leader == self._config.node_id:
            self._ask_here(question, answered)
        else:
            self._ask_there(partition.leader, question, answered)

    def _ask_there(self, broker_id: int, question: Question, answered: Callable[[Errors], None]) -> None:
        # Imported with the first question: a broker without transactions starts without their messages.
        from pykbroker.transactions import requests

        self._brokers.call(
            broker_id,
            requests.add_partitions(
                question.transactional_id,
                question.producer_id,
                question.producer_epoch,
                question.partitions,
                verify_only=not question.add,
            ),
            requests.ADD_PARTITIONS_VERSION,
            lambda response: answered(requests.partition_errors(question.partitions, response)),
        )

    def _ask_here(self, question: Question, answered: Callable[[Errors], None]) -> None:
        who = (question.transactional_id, question.producer_id, question.producer_epoch)
        try:
            if not question.transactional_id:
                raise KafkaError(ErrorCode.INVALID_REQUEST)
            shard = self._coordinator.shard_for(question.transactional_id)
            if question.add:
                shard.add_partitions(
                    *who,
                    question.partitions,
                    client_version=self._coordinator.transaction_version(),
                    done=lambda error: answered(dict.fromkeys(question.partitions, error)),
                )
                return
            errors = shard.verify_partitions(*who, question.partitions)
        except KafkaError as error:
            errors = dict.fromkeys(question.partitions, error.code)
        answered(errors)


def _for_producers(error: ErrorCode) -> ErrorCode:
    return ErrorCode.INVALID_PRODUCER_EPOCH if error is ErrorCode.PRODUCER_FENCED else error
