"""What stands before the server's API: the audit log of every answer, and connections that are slow or malformed.

uvicorn waits for ever for a request's head and answers a malformed one in plain text. Here a client has ten seconds,
the refusal is JSON like all others, and it is logged.
"""

import asyncio
import json
from typing import Any

import h11
import uvicorn
from anyio import to_thread
from sqlalchemy import Engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from leaderboard.audit import Happening, finish_upload, record
from leaderboard.serve_answers import refused
from leaderboard.uploads import Refusal

HEAD_SECONDS = 10.0
"""From the connection, or from the last answer on it, to the end of the next request's head."""
HEAD_BYTES = 16_384
SCHEMA = "/openapi.json"
METHODS = {"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"}
CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
CONTENT_POLICY += "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The page is one file that loads nothing and sends nothing."""
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": CONTENT_POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Audited:
    """ASGI middleware: logs each answer before it is sent, and adds the headers that keep it where it belongs.

    The API says who it was and what came of it in the request's state: `team`, `subject`, `outcome`, `upload_row`.
    """

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app, self._engine = app, engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def log_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                await to_thread.run_sync(self._log, scope, state.get("outcome", "done"))
                message["headers"] += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        try:
            await self._app(scope, receive, log_and_send)
        except Exception:
            await to_thread.run_sync(self._log, scope, "server-error")
            raise

    def _log(self, scope: Scope, outcome: str) -> None:
        state = scope["state"]
        if (row := state.get("upload_row")) is not None:
            finish_upload(self._engine, row, outcome)
            return
        method = scope["method"] if scope["method"] in METHODS else "another method"
        unrouted = SCHEMA if scope["path"] == SCHEMA else "no such page"
        route = getattr(scope.get("route"), "path", unrouted)
        address = (scope.get("client") or ("",))[0]
        subject = state.get("subject", "")
        happening = Happening(
            team=state.get("team", ""), address=address, what=f"{method} {route}", subject=subject, outcome=outcome
        )
        record(self._engine, happening)


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 of uvicorn with a time limit for a request's head and JSON for what is no request."""

    engine: Engine
    """Of the store that holds the log; `server` sets it."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Bytes have come; a request that is complete up to its body has a cycle of its own."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """The rest of a refused body, or the next head, has to come in time too."""
        self._wait_for_head()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no request, or has a head too large."""
        if self.conn.their_state is h11.ERROR and len(self.conn.trailing_data[0]) > HEAD_BYTES:
            self._refuse(Refusal(431, "headers-too-large", f"the head of a request has at most {HEAD_BYTES:,} bytes"))
        else:
            self._refuse(Refusal(400, "bad-request", "this is no valid HTTP request"))

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
            return
        if self.conn.trailing_data[0] and self.conn.our_state is h11.IDLE:
            self._refuse(Refusal(408, "too-slow", f"the head of a request comes within {HEAD_SECONDS:g} seconds"))
        self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer outside of the API, log it, and hang up."""
        happening = Happening(
            team="", address=self.client[0] if self.client else "", what="no request", outcome=refusal.code
        )
        self.loop.run_in_executor(None, record, self.engine, happening)
        body = json.dumps(refused(refusal)).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            events: list[Any] = [h11.Response(status_code=refusal.status, headers=headers), h11.Data(data=body)]
            for event in (*events, h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def server(app: ASGIApp, engine_: Engine, *, host: str, port: int) -> uvicorn.Server:
    """The server of the application `app`, ready to run; `engine_` is that of the log."""

    class Guarded(GuardedProtocol):
        """Knows its store."""

        engine = engine_

    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Guarded,
        ws="none",
        lifespan="off",
        h11_max_incomplete_event_size=HEAD_BYTES,
        limit_concurrency=200,
        access_log=False,
        server_header=False,
        log_level="warning",
    )
    return uvicorn.Server(config)
