"""Protects an HTTP server: bounds time and bytes of requests, asks for a token, tries its address before it starts."""

from __future__ import annotations

import asyncio
import base64
import secrets
import socket

from starlette.requests import ClientDisconnect, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

READ_SECONDS = 30.0  # for a whole request, from the connection or its first byte on
MAX_BODY = 16 * 2**20  # bytes of a request
MAX_HELD = 256 * 2**20  # bytes of all requests that are read or answered at one time


def check_address(host: str, port: int) -> None:
    """ValueError that names the flags, where nothing can listen at one of the host's addresses."""
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            socket.create_server(address, family=family).close()
    except (OSError, UnicodeError) as e:
        reason = getattr(e, "strerror", None) or e
        raise ValueError(f"--host {host} --port {port} cannot be listened at: {reason}; choose another") from e


class Refused(Exception):
    """With the HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class TimedProtocol(H11Protocol):
    """Extends uvicorn's, which waits for ever: a request that is not whole in time ends its connection."""

    seconds = READ_SECONDS
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end = self.loop.call_later(self.seconds, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        is_whole = self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete
        if is_whole:
            self._cancel()
        elif self._end is None:
            self._end = self.loop.call_later(self.seconds, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def _cancel(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None


class Bodies:
    """Reads bodies, and knows how many bytes of them are held."""

    def __init__(self) -> None:
        self._held = 0

    async def read(self, request: Request) -> bytearray:
        """The body, which is held until it is released; ``Refused`` when it, or all of them, are too large."""
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                self._held += len(chunk)
                if len(body) > MAX_BODY:
                    raise Refused(413, f"the request has more than {MAX_BODY} bytes; send fewer queries at a time")
                if self._held > MAX_HELD:
                    raise Refused(503, f"requests of more than {MAX_HELD} bytes are being read and graded; send later")
        except ClientDisconnect as e:
            self.release(body)
            raise Refused(400, "the connection ended before the request did") from e
        except Refused:
            self.release(body)
            raise
        return body

    def release(self, body: bytearray) -> None:
        self._held -= len(body)


def has_token(authorization: str, token: str) -> bool:
    """Whether the header holds the token: as ``Bearer``, or as the password of ``Basic``, which a URL can give."""
    kind, _, given = authorization.partition(" ")
    if kind.lower() == "basic":
        try:
            given = base64.b64decode(given).decode().partition(":")[2]
        except ValueError:
            return False
    elif kind.lower() != "bearer":
        return False
    return secrets.compare_digest(given.encode(), token.encode())
