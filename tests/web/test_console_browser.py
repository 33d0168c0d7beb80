"""The console's pages in a real browser: what a person sees and does, and that nothing foreign is ever run."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from pykbroker.broker import Broker
from pykbroker.client import Client
from pykbroker.client.groups import CommittedOffset, commit_offsets
from pykbroker.client.producer import Producer
from pykbroker.client.topics import NewTopic, create_topics
from pykbroker.topic_partition import TopicPartition
from tests.support.browser import CHROMIUM, Page, browser
from tests.support.running import config_for
from tests.web.http import url

pytestmark = [
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]

HOSTILE = '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'
ORDERS = [b'{"order": %d, "item": "tea", "amount": {"value": 4.5, "currency": "EUR"}}' % number for number in range(30)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextlib.asynccontextmanager
async def console(folder: Path, **properties: str) -> AsyncIterator[tuple[Broker, Client, Page]]:
    """A broker with some records and a group, a client of it, and a browser."""
    config = config_for(
        folder / "data", pykbroker_http_listener="0", pykbroker_http_console_enable="true", **properties
    )
    async with (
        Broker(config, is_ephemeral=True) as broker,
        Client(broker.bootstrap) as client,
        browser(folder / "profile") as page,
    ):
        await create_topics(client, [NewTopic("orders", 3, 1), NewTopic("hostile", 1, 1), NewTopic("payments", 6, 1)])
        async with Producer(client) as producer:
            for number, order in enumerate(ORDERS):
                await producer.send("orders", order, key=b"customer-%d" % (number % 7), headers=[("source", b"web")])
            await producer.send("hostile", HOSTILE.encode(), key=HOSTILE.encode(), headers=[(HOSTILE, b"\xff\x00")])
        await commit_offsets(client, HOSTILE, {TopicPartition("orders", each): CommittedOffset(1) for each in range(3)})
        await page.look()
        yield broker, client, page
        assert page.complaints == []
        assert await page.evaluate("document.title") != "owned"
        assert broker.metrics.bugs_total == 0


async def test_pages_show_what_the_cluster_has(tmp_path: Path) -> None:
    async with console(tmp_path) as (broker, _, page):
        await page.open(url(broker, "/"))
        await page.wait_for("document.querySelectorAll('tbody tr').length === 3")  # internal ones are not asked for
        assert "read-only" in await page.text("#cluster")
        await page.screenshot("topics")
        await page.look(dark=True)
        await page.screenshot("topics-dark")
        await page.look()
        await page.evaluate("document.querySelector('a[href=\"#/topics/orders\"]').click()")
        await page.wait_for("document.body.innerText.includes('cleanup.policy')")
        assert await page.text("h1") == "orders"
        await page.screenshot("topic")
        await page.evaluate("location.hash = '#/brokers'")
        await page.wait_for("document.body.innerText.includes('controller')")
        await page.screenshot("brokers")
        await page.evaluate("location.hash = '#/brokers/1'")
        await page.wait_for("document.body.innerText.includes('log.retention.ms')")
        await page.evaluate("location.hash = '#/nothing'")
        await page.wait_for("document.body.innerText.includes('There is no such page')")


async def test_hostile_record_is_shown_as_text(tmp_path: Path) -> None:
    async with console(tmp_path) as (broker, _, page):
        await page.open(url(broker, "/console/#/topics/hostile/records"))
        await page.wait_for("document.querySelectorAll('tbody tr').length === 1")
        assert (await page.text("tbody")).count("<script>") == 3  # key, value and a header's name
        assert "0000  ff 00" in await page.text("tbody")
        assert await page.evaluate("document.querySelectorAll('main script, main img').length") == 0
        await page.screenshot("hostile")
        assert await page.evaluate("document.querySelector('#produce-form')") is None  # it is read-only
        await page.evaluate("location.hash = '#/topics/orders/records?partition=1'")
        await page.wait_for("document.querySelectorAll('tbody tr').length > 3")
        assert '{"order": 28,' in await page.text("body")
        await page.evaluate("document.querySelector('tbody tr').click()")
        assert '  "amount": {\n    "value": 4.5,\n' in await page.text("tbody tr")
        await page.screenshot("records")
        choose_hex = "const view = document.getElementById('view'); view.value = 'hex'"
        await page.evaluate(f"{choose_hex}; view.dispatchEvent(new Event('change'))")
        assert "7b 22 6f 72 64 65 72" in await page.text("tbody")


async def test_record_is_produced_where_that_is_allowed(tmp_path: Path) -> None:
    async with console(tmp_path, pykbroker_http_console_write_enable="true") as (broker, _, page):
        await page.open(url(broker, "/console/#/topics/payments/records"))
        await page.wait_for("document.querySelector('#produce-form')")
        await page.evaluate("""
            document.querySelector('#produce-form').open = true;
            document.querySelector('#key').value = 'anna';
            document.querySelector('#key').dispatchEvent(new Event('input'));
            document.querySelector('#value').value = '<b>tea</b>';
            document.querySelector('#headers').value = 'source: console';
            document.querySelector('#produce').click()
        """)
        await page.wait_for("document.querySelector('#said').textContent.includes('offset 0')")
        await page.wait_for("document.querySelectorAll('tbody tr').length === 1")
        row = await page.text("tbody")
        assert "anna" in row
        assert "<b>tea</b>" in row
        assert row.split()[-2:] == ["source:", "console"]
        await page.screenshot("produce")


async def test_lag_is_drawn_and_goes_on(tmp_path: Path) -> None:
    async with console(tmp_path) as (broker, client, page):
        await page.open(url(broker, "/console/#/groups"))
        await page.wait_for("document.querySelectorAll('tbody tr').length === 1")
        assert HOSTILE in await page.text("tbody")
        await page.screenshot("groups")
        await page.evaluate("document.querySelector('tbody a').click()")
        await page.wait_for("document.querySelector('.uplot canvas')")
        assert "27" in await page.text(".legend")
        async with Producer(client) as producer:
            for order in ORDERS:
                await producer.send("orders", order)
        await page.wait_for("document.querySelector('.legend').innerText.includes('57')")
        drawn = (
            "document.querySelector('.uplot canvas').getContext('2d').getImageData(0, 0, 1000, 200).data.some(x => x)"
        )
        assert await page.evaluate(drawn)
        await page.screenshot("group")
        await page.look(dark=True)
        await page.screenshot("group-dark")


async def test_trace_shows_a_request_and_each_byte_of_it(tmp_path: Path) -> None:
    async with console(tmp_path) as (broker, client, page):
        untraced = broker.dispatcher
        await page.open(url(broker, "/console/#/trace"))
        await page.wait_for("document.querySelector('#trace-state')?.innerText.startsWith('tracing: 0')")
        with anyio.fail_after(20):
            while broker.dispatcher is untraced:
                await anyio.sleep(0.01)
        async with Producer(client) as producer:
            await producer.send("orders", HOSTILE.encode(), key=b"k")
        await client.metadata(["orders"])
        await page.wait_for("document.querySelectorAll('.frames tbody tr').length >= 4")
        await page.screenshot("trace-lines")
        await page.evaluate(
            "[...document.querySelectorAll('.frames tr')].find(r => r.innerText.includes('Produce')).click()"
        )
        await page.wait_for("document.querySelector('.tree')")
        await page.evaluate("""
            [...document.querySelectorAll('.frames tr')].filter(r => r.innerText.includes('Produce'))
                .find(r => r.querySelector('.request')).click()
        """)
        await page.wait_for("document.querySelector('.tree').innerText.includes('acks')")
        await page.evaluate("""
            [...document.querySelectorAll('.tree div')].find(line => line.innerText.includes('script'))
                .dispatchEvent(new Event('mouseenter'))
        """)
        assert "<script>" in await page.evaluate(
            "[...document.querySelectorAll('.hex mark')].map(mark => mark.innerText).join('')"
        )
        await page.screenshot("trace")
        await page.look(dark=True)
        await page.screenshot("trace-dark")
        await page.evaluate("location.hash = '#/topics'")
        with anyio.fail_after(20):
            while broker.dispatcher is not untraced:
                await anyio.sleep(0.01)


async def offsets(page: Page) -> list[int]:
    cells = "[...document.querySelectorAll('tbody tr')].map(row => Number(row.cells[1].innerText))"
    found: list[int] = await page.evaluate(cells)
    return found


async def choose(page: Page, selector: str, value: str) -> None:
    """Set a field as a person does."""
    await page.evaluate(f"""
        var field = document.querySelector('{selector}');
        field.value = '{value}';
        field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input'))
    """)


async def test_records_are_paged_searched_and_read_from_an_offset(tmp_path: Path) -> None:
    async with console(tmp_path) as (broker, client, page):
        async with Producer(client) as producer:
            for number in range(10):
                await producer.send("payments", b"payment %d" % number, partition=5)
        await page.open(url(broker, "/console/#/topics/payments/records"))
        await page.wait_for("document.querySelectorAll('tbody tr').length === 10")  # of all partitions
        await choose(page, "#limit", "4")
        await page.evaluate("document.querySelector('#read').click()")
        await page.wait_for("document.querySelectorAll('tbody tr').length === 4")
        assert await offsets(page) == [9, 8, 7, 6]
        assert await page.evaluate("document.querySelector('#newer').disabled")
        await page.evaluate("document.querySelector('#older').click()")
        await page.wait_for("document.querySelector('tbody tr').cells[1].innerText === '5'")
        assert await offsets(page) == [5, 4, 3, 2]
        await page.evaluate("document.querySelector('#newer').click()")
        await page.wait_for("document.querySelector('tbody tr').cells[1].innerText === '6'")
        assert await offsets(page) == [6, 7, 8, 9]
        await choose(page, "#partition", "5")
        await choose(page, "#start", "offset")
        await choose(page, "#offset", "3")
        await page.evaluate("document.querySelector('#committed').click(); document.querySelector('#read').click()")
        await page.wait_for("document.querySelector('tbody tr').cells[1].innerText === '3'")
        assert await offsets(page) == [3, 4, 5, 6]
        assert "Partition 5 has offsets 0 to 10 (exclusive)." in await page.text()
        await choose(page, "#start", "end")
        await choose(page, "#contains", "payment 2")
        await page.evaluate("document.querySelector('#read').click()")
        await page.wait_for("document.querySelectorAll('tbody tr').length === 1")
        assert await offsets(page) == [2]
        await page.evaluate("location.hash = '#/topics/__consumer_offsets/records'")
        await page.wait_for("document.body.innerText.includes('OffsetCommitKey')")


async def test_groups_are_filtered_and_the_trace_stops_and_starts(tmp_path: Path) -> None:
    async with console(tmp_path) as (broker, client, page):
        await commit_offsets(client, "another", {TopicPartition("orders", 0): CommittedOffset(1)})
        await page.open(url(broker, "/console/#/groups"))
        await page.wait_for("document.querySelectorAll('tbody tr').length === 2")
        await choose(page, "#filter", "other")
        await page.wait_for("document.querySelectorAll('tbody tr').length === 1")
        assert (await page.text("tbody a")) == "another"
        untraced = broker.dispatcher
        await page.evaluate("location.hash = '#/trace'")
        with anyio.fail_after(20):
            while broker.dispatcher is untraced:
                await anyio.sleep(0.01)
        await client.metadata(["orders"])
        await page.wait_for("document.querySelectorAll('.frames tbody tr').length === 2")
        await page.evaluate("document.querySelector('#trace-switch').click()")
        await page.wait_for("document.querySelector('#trace-state').innerText === 'stopped: 2 frames'")
        with anyio.fail_after(20):
            while broker.dispatcher is not untraced:
                await anyio.sleep(0.01)
        await page.evaluate("document.querySelector('.frames tbody tr').click()")  # it is kept
        await page.wait_for("document.querySelector('.tree')?.innerText.includes('topics')")
        line = "document.querySelectorAll('.tree div')[5]"
        await page.evaluate(f"{line}.focus()")  # by the keyboard
        await page.wait_for("document.querySelector('.hex mark')")
        await page.evaluate("document.querySelector('#trace-switch').click()")
        await page.wait_for("document.querySelector('#trace-state').innerText.startsWith('tracing: 0')")
