"""A real browser without a window, driven by the Chrome DevTools Protocol over a pair of pipes.

    async with browser(tmp_path) as page:
        await page.open("http://127.0.0.1:9644/console/")
        await page.wait_for("document.querySelector('table')")
        assert page.complaints == []

It needs Chromium, as Debian's package `chromium` has it; `CHROMIUM` names another. `Page.screenshot` writes into a
folder beside the profile, or into the one that `PYKBROKER_SCREENSHOTS` names; a page that never becomes what a test
waits for is among them, and the failure says where.
"""

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

DEADLINE_S = 20.0
POLL_S = 0.02
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    def __init__(self, reads_fd: int, writes_fd: int, screenshots: Path) -> None:
        self._screenshots = screenshots
        self.complaints: list[str] = []  # what the page logs as an error, does not catch, or may not load
        self._reads_fd = reads_fd
        self._writes_fd = writes_fd
        self._received = bytearray()
        self._ids = itertools.count(1)
        self._answers: dict[int, Any] = {}
        self._session: str | None = None

    async def attach(self) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        data = memoryview(json.dumps(message).encode() + b"\0")
        with anyio.fail_after(DEADLINE_S):
            while data:
                try:
                    data = data[os.write(self._writes_fd, data) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._writes_fd)
            while number not in self._answers:
                await self._receive()
        answer = self._answers.pop(number)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    async def _receive(self) -> None:
        try:
            data = os.read(self._reads_fd, 1 << 20)
        except BlockingIOError:
            await anyio.wait_readable(self._reads_fd)
            return
        if not data:
            raise AssertionError("the browser is gone")
        self._received += data
        *messages, rest = bytes(self._received).split(b"\0")
        self._received = bytearray(rest)
        for message in messages:
            self._take(json.loads(message))

    def _take(self, message: Any) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
            return
        params = message["params"]
        match message["method"]:
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(" ".join(str(each.get("value")) for each in params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Page.javascriptDialogOpening":
                self.complaints.append(f"a dialog: {params['message']}")

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def wait_for(self, expression: str) -> None:
        """Look until an expression is true."""
        with anyio.move_on_after(DEADLINE_S):
            while not await self.evaluate(f"!!({expression})"):
                await anyio.sleep(POLL_S)
            return
        text = await self.evaluate("document.body.innerText")
        seen = await self.screenshot("failure")
        raise AssertionError(f"never true: {expression}; complaints: {self.complaints}; see {seen}; the page: {text}")

    async def text(self, selector: str = "body") -> str:
        text: str = await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
        return text

    async def look(self, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """Choose the window's size, and whether the system is dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, name: str) -> Path:
        """Write what is seen into a file, and return where that is."""
        shot = await self.call("Page.captureScreenshot", format="png")
        image = base64.b64decode(shot["data"])
        assert image.startswith(b"\x89PNG")
        await anyio.Path(self._screenshots).mkdir(parents=True, exist_ok=True)
        await (anyio.Path(self._screenshots) / f"{name}.png").write_bytes(image)
        return self._screenshots / f"{name}.png"


@contextlib.asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Page]:
    """Run Chromium with an empty profile; all of its processes end with the block."""
    assert CHROMIUM is not None
    its_reads, our_writes = os.pipe()
    our_reads, its_writes = os.pipe()
    # Chromium wants its pipes to be descriptors 3 and 4. Root may not use its sandbox, nor may some containers.
    words = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    words += ["--disable-background-networking", "--disable-component-update", "--no-default-browser-check"]
    words += [f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    redirected = f'exec "$0" "$@" 8<&{its_reads} 9>&{its_writes} 3<&8 4>&9 8<&- 9>&-'
    with contextlib.ExitStack() as stack:
        process = await anyio.open_process(
            ["bash", "-c", redirected, *words],
            stdin=None,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(its_reads, its_writes),
            start_new_session=True,
        )
        for fd in (its_reads, its_writes):
            os.close(fd)
        for fd in (our_reads, our_writes):
            os.set_blocking(fd, False)
            stack.callback(os.close, fd)
        screenshots = Path(os.environ.get("PYKBROKER_SCREENSHOTS") or profile.parent / "screenshots")
        page = Page(our_reads, our_writes, screenshots)
        try:
            await page.attach()
            yield page
        finally:
            with anyio.CancelScope(shield=True):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.aclose()
