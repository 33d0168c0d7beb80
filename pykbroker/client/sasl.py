"""SASL as a client: PLAIN and SCRAM, over SaslHandshake and SaslAuthenticate.

    SCRAM   n,,n=user,r=nonce  ->  r=nonce+more,s=salt,i=iterations
            c=biws,r=nonce+more,p=proof  ->  v=signature, or e=error

Rules
- A mechanism is a generator that yields what the client says, and is sent what the broker says.
- The broker, too, has to prove that it knows the password: its signature is checked.
- What a broker asks for is bounded: no more than MAX_ITERATIONS, and no fewer than make a password hard to guess.

Sources: RFC 4616, RFC 5802, KIP-84, KIP-152, KIP-368.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import anyio.to_thread

from pykbroker.client.security import SaslSettings
from pykbroker.errors import KafkaError, error_of
from wire.errors import ErrorCode
from wire.messages.authentication import SaslAuthenticateRequest, SaslHandshakeRequest

MIN_ITERATIONS = 4096
MAX_ITERATIONS = 1_000_000  # half a second of a thread
_GS2_HEADER = "n,,"

Mechanism = Generator[bytes, bytes, None]


async def authenticate(ask: Callable[[object], Awaitable[Any]], settings: SaslSettings) -> int:
    """Return for how many ms that holds, 0: for good. Raises: KafkaError, OSError."""
    shaken = await ask(SaslHandshakeRequest(settings.mechanism))
    if shaken.error_code == ErrorCode.ILLEGAL_SASL_STATE:
        raise KafkaError(ErrorCode.ILLEGAL_SASL_STATE, "this listener has no SASL (security.protocol)")
    if shaken.error_code:
        known = ", ".join(shaken.mechanisms)
        raise KafkaError(error_of(shaken.error_code), f"{settings.mechanism} is none of the broker's: {known}")
    mechanism = MECHANISMS[settings.mechanism](settings)
    message = next(mechanism)
    while True:
        answer = await ask(SaslAuthenticateRequest(message))
        if answer.error_code:
            raise KafkaError(error_of(answer.error_code), answer.error_message)
        # In a thread: hashing a password is meant to take long.
        following = await anyio.to_thread.run_sync(_next, mechanism, bytes(answer.auth_bytes))
        if following is None:
            lifetime_ms: int = answer.session_lifetime_ms
            return lifetime_ms
        message = following


def _next(mechanism: Mechanism, told: bytes) -> bytes | None:
    """Return what the client says now; None at the end."""
    try:
        return mechanism.send(told)
    except StopIteration:
        return None


def plain(settings: SaslSettings) -> Mechanism:
    yield b"\0".join([b"", settings.username.encode(), settings.password.encode()])


def scram(digest: str) -> Callable[[SaslSettings], Mechanism]:
    def exchange(settings: SaslSettings) -> Mechanism:
        nonce = secrets.token_urlsafe(24)
        name = settings.username.replace("=", "=3D").replace(",", "=2C")
        first = f"n={name},r={nonce}"
        challenge = yield (_GS2_HEADER + first).encode()
        told = _attributes(challenge)
        whole_nonce, iterations = told.get("r", ""), told.get("i", "")
        if not whole_nonce.startswith(nonce) or whole_nonce == nonce:
            raise _failure("a nonce that is not ours")
        if not iterations.isdecimal() or not MIN_ITERATIONS <= int(iterations[:9]) <= MAX_ITERATIONS:
            raise _failure(f"{iterations[:20]!r} iterations")
        salted = hashlib.pbkdf2_hmac(
            digest, settings.password.encode(), _unbase64(told.get("s", "")), int(iterations[:9])
        )
        channel = base64.b64encode(_GS2_HEADER.encode()).decode()
        final = f"c={channel},r={whole_nonce}"
        text = b",".join([first.encode(), challenge, final.encode()])
        key = _hmac(salted, b"Client Key")
        signature = _hmac(hashlib.new(digest, key).digest(), text)
        proof = bytes(one ^ other for one, other in zip(key, signature, strict=True))
        outcome = _attributes((yield f"{final},p={base64.b64encode(proof).decode()}".encode()))
        if "e" in outcome:
            raise _failure(outcome["e"])
        if not hmac.compare_digest(_unbase64(outcome.get("v", "")), _hmac(_hmac(salted, b"Server Key"), text)):
            raise _failure("a signature of somebody who does not know the password")

    def _hmac(key: bytes, text: bytes) -> bytes:
        return hmac.new(key, text, digest).digest()

    return exchange


MECHANISMS = {"PLAIN": plain, "SCRAM-SHA-256": scram("sha256"), "SCRAM-SHA-512": scram("sha512")}


def _attributes(message: bytes) -> dict[str, str]:
    text = message.decode(errors="replace")
    return {part[0]: part[2:] for part in text.split(",") if part[1:2] == "="}


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise _failure("what is no base64") from None


def _failure(what: str) -> KafkaError:
    return KafkaError(ErrorCode.SASL_AUTHENTICATION_FAILED, f"the broker sent {what}")
