"""A broker without transactions starts without what serves them, and one that had some serves them from its start."""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.support.client import Client
from tests.support.running import DEADLINE_S, running
from wire.errors import ErrorCode
from wire.messages.metadata import FindCoordinatorRequest
from wire.messages.transactions import DescribeTransactionsRequest, InitProducerIdRequest

TRY_AGAIN = (ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR)
START = """
import sys
import anyio
from pykbroker.broker import Broker
from pykbroker.config import BrokerConfig

async def start():
    config = BrokerConfig.from_properties({"listeners": "PLAINTEXT://127.0.0.1:0", "log.dirs": sys.argv[1]})
    async with Broker(config, is_ephemeral=True):
        print(*(name for name in sys.modules if name.startswith(("pykbroker.transactions", "wire.messages.trans"))))

anyio.run(start)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_broker_without_transactions_starts_without_their_modules(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", START, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.anyio
async def test_transactional_ids_are_known_after_a_restart(tmp_path: Path) -> None:
    factors = {"transaction_state_log_replication_factor": "1", "transaction_state_log_num_partitions": "2"}
    async with running(tmp_path, **factors) as broker, Client.connect(broker) as client:
        request = InitProducerIdRequest(transactional_id="p", transaction_timeout_ms=60_000)
        await client.ask(FindCoordinatorRequest(key="p", key_type=1), 2)  # creates the topic
        with anyio.fail_after(DEADLINE_S):
            while (await client.ask(request, 4)).error_code in TRY_AGAIN:
                pass
    async with running(tmp_path, **factors) as broker, Client.connect(broker) as client:
        with anyio.fail_after(DEADLINE_S):
            while True:
                (state,) = (await client.ask(DescribeTransactionsRequest(["p"]), 0)).transaction_states
                if state.error_code not in TRY_AGAIN:
                    break
        assert (state.error_code, state.transaction_state) == (ErrorCode.NONE, "Empty")
