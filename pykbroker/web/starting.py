"""What probes are told while the broker starts: logs are recovered on the event loop, which answers nobody meanwhile.

    starting = StartingHealth(listener.socket)
    ...
    starting.stop()         # from here on somebody else accepts

Owns: a thread, until then. Rules
- /healthz is 200: to kill a broker because it recovers would have it recover again. All else is 503.
- One request at a time, TIMEOUT_S for it, and of its head what comes first: probes are short.

Not here: the same of a broker that runs (health).
"""

import contextlib
import json
import select
import selectors
import socket
import threading

TIMEOUT_S = 1.0
MAX_HEAD_BYTES = 4096
_ANSWERS = {
    b"/healthz": ("200 OK", {"status": "starting", "reasons": []}),
    b"/readyz": ("503 Service Unavailable", {"status": "not ready", "reasons": ["the broker is starting"]}),
}
_REST = ("503 Service Unavailable", {"error": "the broker is starting"})


class StartingHealth:
    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._stopped, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="http-while-starting", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Accept nobody any more; may be called again."""
        self._stop.close()
        self._thread.join()

    def _run(self) -> None:
        with self._stopped, selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            selector.register(self._stopped, selectors.EVENT_READ)
            while all(key.fileobj is not self._stopped for key, _ in selector.select()):
                with contextlib.suppress(OSError):  # whoever asked is gone
                    client, _ = self._listening.accept()
                    with client:
                        self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        client.settimeout(TIMEOUT_S)
        # A client that has not asked yet when somebody else is to accept is let go: `stop` does not wait for it.
        readable, _, _ = select.select([client, self._stopped], [], [], TIMEOUT_S)
        if client in readable:
            _respond(client)


def _respond(client: socket.socket) -> None:
    head = client.recv(MAX_HEAD_BYTES)
    target = head.partition(b"\r\n")[0].split(b" ")[1:2]
    status, told = _ANSWERS.get(target[0].partition(b"?")[0], _REST) if target else _REST
    body = json.dumps(told).encode()
    headers = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close"
    client.sendall(f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode() + body)
