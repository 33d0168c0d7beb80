"""The console's worker: it is a process of its own, and the console goes on when that one does not."""

import os
from pathlib import Path

import anyio
import pytest

from pykbroker.broker import Broker
from pykbroker.web.console.worker import Worker, WorkerError
from tests.support.running import running, until

pytestmark = pytest.mark.anyio


def worker_for(broker: Broker, *, answer_timeout_s: float = 60) -> Worker:
    host, port = broker.addresses[0]
    return Worker({"host": host, "port": port, "node_id": 1, "is_writable": False}, answer_timeout_s=answer_timeout_s)


def is_there(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


async def test_worker_begins_with_the_first_question_and_ends_with_the_console(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        async with worker_for(broker) as worker:
            assert worker.process_id is None
            async with anyio.create_task_group() as tasks:
                for _ in range(3):  # at the same time
                    tasks.start_soon(worker.ask, "GET", "/api/cluster")
            process_id = worker.process_id
            assert process_id is not None
            assert process_id != os.getpid()
            answer = await worker.ask("GET", "/api/topics")
            assert (answer.status, answer.media_type, answer.body) == (
                200,
                "application/json",
                b'{"topics":[],"left_out":0}',
            )
            assert worker.process_id == process_id
        assert not is_there(process_id)


async def test_worker_that_dies_is_replaced_with_the_next_question(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, worker_for(broker) as worker:
        await worker.ask("GET", "/api/cluster")
        first = worker.process_id
        assert first is not None
        os.kill(first, 9)
        await until(lambda: worker.process_id is None)
        assert (await worker.ask("GET", "/api/cluster")).status == 200
        assert worker.process_id not in (None, first)


async def test_worker_that_does_not_answer_in_time_is_ended(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, worker_for(broker, answer_timeout_s=0) as worker:
        with pytest.raises(WorkerError, match="takes too long"):
            await worker.ask("GET", "/api/cluster")
        await until(lambda: worker.process_id is None)


async def test_bug_in_one_page_is_a_500_and_the_others_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, worker_for(broker) as worker:
        assert (await worker.ask("POST", "/broker/trace/1", "keep=x", b"")).status == 500
        process_id = worker.process_id
        assert (await worker.ask("GET", "/api/cluster")).status == 200
        assert worker.process_id == process_id
