"""What runs in the console's worker: `python -m pykbroker.web.console.worker_process DESCRIPTOR`.

Rules
- Questions are answered as they come, each in a task: an ASGI application gets them as HTTP requests, and what it
  answers goes back in one piece.
- It gives way to the broker (NICE), and has no more memory than MAX_MEMORY_BYTES.
- It ends when its other side does.

Not here: the other side (worker), what is answered (pages).
"""

import contextlib
import logging
import os
import resource
import socket
import sys

import anyio
from starlette.types import ASGIApp
from starlette.types import Message as AsgiMessage

from pykbroker.web.console.channel import Channel, Message
from pykbroker.web.console.pages import Pages, PageSettings

logger = logging.getLogger("pykbroker.web.console")

NICE = 5
MAX_MEMORY_BYTES = 1024 * 1024 * 1024  # of addresses


async def serve(sock: socket.socket) -> None:
    """Answer what comes by the socket, until it is closed."""
    channel = Channel(sock)
    with contextlib.suppress(EOFError, OSError):
        settings = PageSettings(**(await channel.receive()).head)
        async with Pages(settings) as pages, anyio.create_task_group() as tasks:
            try:
                while True:
                    tasks.start_soon(_answer, channel, pages.app, await channel.receive())
            finally:
                tasks.cancel_scope.cancel()


async def _answer(channel: Channel, app: ASGIApp, message: Message) -> None:
    head = message.head
    status, media_type = 500, "text/plain"
    body = bytearray()

    async def receive() -> AsgiMessage:
        return {"type": "http.request", "body": message.body}

    async def send(part: AsgiMessage) -> None:
        nonlocal status, media_type
        if part["type"] == "http.response.start":
            status = part["status"]
            headers = {name.lower(): value for name, value in part["headers"]}
            media_type = headers.get(b"content-type", b"text/plain").decode("latin-1")
        else:
            body.extend(part.get("body", b""))

    scope = {
        "type": "http",
        "method": head["method"],
        "path": head["path"],
        "raw_path": head["path"].encode(),
        "query_string": head["query"].encode(),
        "headers": [],
    }
    try:
        await app(scope, receive, send)
    except Exception:  # of one question: the others go on, and the broker counts a status of 500 as a bug
        logger.exception("bug in %s %s", head["method"], head["path"])
    with contextlib.suppress(OSError):  # nobody is there any more: `serve` finds out
        await channel.send(Message({"number": head["number"], "status": status, "media_type": media_type}, bytes(body)))


def main() -> None:
    os.nice(NICE)
    with contextlib.suppress(ValueError, OSError):  # a lower limit is in force already
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        anyio.run(serve, sock)


if __name__ == "__main__":
    main()
