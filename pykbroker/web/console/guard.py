"""Who may use the console: checked for every request, before anything of it runs.

Rules
- Unless `pykbroker.http.console.remote.enable`: the client is on this machine, calls it localhost or by a loopback
  address, and does not ask for somebody else, as a proxy does that says so.
- With it: the client calls the broker by an address, localhost, a host of `advertised.listeners` or one of
  `pykbroker.http.console.hosts`. Any web page may have a name of its own lead to any address (DNS rebinding), and none
  of these.
- What the API is asked by a browser has to come from the console's own pages; a link to these may be anywhere.
- What writes needs `pykbroker.http.console.write.enable` and JSON, which no foreign form can send.
- Every answer carries the headers below: no scripts but the console's own, no frames, no guessing of types.

Sources: OWASP's cheat sheets on CSRF and DNS rebinding; Fetch Metadata; CSP level 3.
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

import attrs
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pykbroker.config import BrokerConfig

READING = ("GET", "HEAD")
OF_PROXIES = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
POLICY: Sequence[tuple[str, str]] = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-cache"),
)


@attrs.frozen
class Refusal:
    status: int
    error: str
    message: str


class Guard:
    def __init__(self, app: ASGIApp, config: BrokerConfig) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in POLICY:
                    headers[name] = value
            await send(message)

        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        app = self._app if refusal is None else _answer(scope, refusal)
        await app(scope, receive, send_with_policy)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = Headers(scope=scope)
        if not self._config.pykbroker_http_console_remote_enable:
            if not is_loopback((scope.get("client") or ("",))[0]):
                return Refusal(
                    403,
                    "NOT_LOCAL",
                    "The console is for this machine alone, unless pykbroker.http.console.remote.enable is set.",
                )
            if not is_loopback(_name_of(headers.get("host", ""))):
                return Refusal(403, "WRONG_HOST", "Call the console by the name localhost, or by its address.")
            if any(name in headers for name in OF_PROXIES):
                return Refusal(
                    403, "NOT_LOCAL", "A proxy asks for somebody else: that needs pykbroker.http.console.remote.enable."
                )
        elif not self._is_own_name(_name_of(headers.get("host", ""))):
            return Refusal(
                403, "WRONG_HOST", "Call the console by its address, or add this name to pykbroker.http.console.hosts."
            )
        if not is_api(scope):
            return None
        if not is_same_origin(headers):
            return Refusal(403, "WRONG_ORIGIN", "This was asked by a page that is not the console's.")
        if scope["method"] in READING:
            return None
        if not self._config.pykbroker_http_console_write_enable:
            return Refusal(
                403, "READ_ONLY", "The console is read-only, unless pykbroker.http.console.write.enable is set."
            )
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return Refusal(415, "NOT_JSON", "What is to be changed is told in JSON.")
        return None

    def _is_own_name(self, host: str) -> bool:
        """Tell whether nobody else decides where this name leads."""
        config = self._config
        names = {endpoint.host.lower() for endpoint in config.advertised_endpoints}
        names.update(name.lower() for name in config.pykbroker_http_console_hosts)
        return host.lower() in {"localhost", *names} - {""} or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tell whether a host name can only be of this machine."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def is_same_origin(headers: Headers) -> bool:
    """Tell whether a browser, if it is one, asks on behalf of a page of the same origin."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""


def is_api(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith("/console/api/") or scope["method"] not in READING


def _name_of(host: str) -> str:
    """The host in a Host header, which may have a port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _answer(scope: Scope, refusal: Refusal) -> Response:
    if is_api(scope):
        return JSONResponse({"error": refusal.error, "message": refusal.message}, refusal.status)
    return PlainTextResponse(f"{refusal.message}\n", refusal.status)
