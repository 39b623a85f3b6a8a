"""The HTTP API of a board for several teams, and its page (FastAPI).

A team is known by HTTP Basic authentication: its name and its token, which browsers and `curl -u` speak. A request is
authenticated before anything else is looked at, and whatever is wrong with name or token has one and the same answer.
Submissions come by PUT, which no page of another site can send in a browser's name.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from abaw.version import tool_version
from leaderboard import board, store
from leaderboard.audit import Happening, start_upload
from leaderboard.serve_answers import (
    BoardEntry,
    NewEntry,
    OwnEntry,
    Refused,
    TrackInfo,
    board_entry,
    new_entry,
    own_entry,
    refused,
)
from leaderboard.serve_guard import Audited
from leaderboard.serve_page import page
from leaderboard.serving import NAME, UPLOADING, Challenge, Served, check_name, own_file, own_rows, submit_upload
from leaderboard.teams import is_token_of
from leaderboard.uploads import Limits, Refusal

UNKNOWN = Refusal(
    401,
    "wrong-token",
    "a team's name and token are asked for, as user and password; one of them is missing or wrong",
    headers={"www-authenticate": 'Basic realm="leaderboard", charset="UTF-8"'},
)
"""The one answer to whom the server does not know."""
CODES = {404: "no-such-page", 405: "no-such-method"}
BASIC = HTTPBasic(auto_error=False, description="The team's name and its token")
LOG = logging.getLogger("leaderboard.serve")
UPLOAD = "PUT /api/tracks/{track}/entries/{name}"
BODY = {
    "requestBody": {
        "required": True,
        "description": "The submission file as text, or a zip of it or of one <video>.txt a video",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
AS_MODEL = {"model": Refused}
AS_JSON = {
    "description": "Refused",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refused"}}},
}
"""Where an answer is no JSON, FastAPI would say that its refusals are none either."""
Commit = Annotated[str, Query(pattern=r"^(?:[0-9a-f]{7,40}\+?)?$", description="Of the code that made it")]
Note = Annotated[str, Query(pattern=r"^[ -~]{0,500}$", description="Anything worth remembering, in ASCII")]


def make_app(served: Served) -> FastAPI:
    """The server's application; uvicorn, or a test, runs it."""
    app = FastAPI(title="leaderboard", version=tool_version(), docs_url=None, redoc_url=None)
    app.add_middleware(Audited, engine=served.engine)
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    app.add_exception_handler(Exception, _on_error)
    known, challenge_of = _team_of(served), _challenge_of(served)
    for make_router, answer in ((_reading, AS_MODEL), (_uploading, AS_MODEL), (_documents, AS_JSON)):
        router = make_router(served, known, challenge_of)
        refusals: dict[int | str, Any] = dict.fromkeys((400, 401, 404, 405, 422, 500), answer)
        app.include_router(router, dependencies=[Depends(known)], responses=refusals)
    return app


def _team_of(served: Served) -> Callable[..., str]:
    def team_of(request: Request, given: Annotated[HTTPBasicCredentials | None, Depends(BASIC)]) -> str:
        if given is None or not is_token_of(served.engine, given.username, given.password):
            raise UNKNOWN
        request.state.team = given.username
        return given.username

    return team_of


def _challenge_of(served: Served) -> Callable[..., Challenge]:
    names = list(served.challenges)

    def challenge_of(request: Request, track: Annotated[str, InPath(json_schema_extra={"enum": names})]) -> Challenge:
        if track not in served.challenges:
            raise Refusal(404, "no-such-track", f"this server has the tracks {', '.join(names)}")
        request.state.subject = track
        return served.challenges[track]

    return challenge_of


def _reading(served: Served, known: Callable[..., str], challenge_of: Callable[..., Challenge]) -> APIRouter:
    """What a team may look at: the board, and what is its own."""
    router = APIRouter()

    @router.get("/api/tracks", summary="The tracks and their rules")
    def tracks() -> list[TrackInfo]:
        return [_track_info(served, challenge) for challenge in served.challenges.values()]

    @router.get("/api/tracks/{track}/board", summary="The board, with public scores before the reveal")
    def show_board(challenge: Annotated[Challenge, Depends(challenge_of)]) -> list[BoardEntry]:
        return [board_entry(row) for row in board.rows(served.url, challenge.track)]

    @router.get("/api/tracks/{track}/entries", summary="The team's own entries")
    def entries(
        team: Annotated[str, Depends(known)], challenge: Annotated[Challenge, Depends(challenge_of)]
    ) -> list[OwnEntry]:
        return [own_entry(row) for row in own_rows(served, challenge, team)]

    @router.get("/api/tracks/{track}/entries/{name}", summary="One of the team's own entries")
    def entry(
        request: Request,
        team: Annotated[str, Depends(known)],
        challenge: Annotated[Challenge, Depends(challenge_of)],
        name: Annotated[str, InPath(pattern=NAME)],
    ) -> OwnEntry:
        request.state.subject = f"{challenge.track.name}/{name}"
        return own_entry(_own(served, challenge, team, name))

    return router


def _documents(served: Served, known: Callable[..., str], challenge_of: Callable[..., Challenge]) -> APIRouter:
    """What is no JSON: the page, and a team's own files."""
    router = APIRouter()

    @router.get("/", response_class=HTMLResponse, summary="The board as a page")
    def show_page() -> str:
        return page(served)

    @router.get(
        "/api/tracks/{track}/entries/{name}/file", response_class=FileResponse, summary="Its file, as it was scored"
    )
    def file(
        request: Request,
        team: Annotated[str, Depends(known)],
        challenge: Annotated[Challenge, Depends(challenge_of)],
        name: Annotated[str, InPath(pattern=NAME)],
    ) -> FileResponse:
        request.state.subject = f"{challenge.track.name}/{name}"
        found = own_file(served, _own(served, challenge, team, name))
        if found is None:
            raise Refusal(404, "no-such-file", "only a valid entry that came through this server has a file")
        return FileResponse(found, media_type="text/plain", filename=f"{challenge.track.name}.txt")

    return router


def _uploading(served: Served, known: Callable[..., str], challenge_of: Callable[..., Challenge]) -> APIRouter:
    """How a team submits. One submission is scored at a time: each takes up to a gigabyte of memory."""
    router = APIRouter()
    scoring = CapacityLimiter(1)
    answers: dict[int | str, Any] = dict.fromkeys((403, 408, 409, 413, 415, 429), AS_MODEL)

    @router.put(
        "/api/tracks/{track}/entries/{name}", status_code=201, summary="Submit", responses=answers, openapi_extra=BODY
    )
    async def upload(
        request: Request,
        team: Annotated[str, Depends(known)],
        challenge: Annotated[Challenge, Depends(challenge_of)],
        name: Annotated[str, InPath(pattern=NAME)],
        commit: Commit = "",
        note: Note = "",
    ) -> NewEntry:
        request.state.subject = f"{challenge.track.name}/{name}"
        _check_head(request, served.limits)
        await to_thread.run_sync(check_name, served, challenge, name)
        await to_thread.run_sync(_start, served, request, team)
        served.files.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=UPLOADING, dir=served.files) as folder:
            file = Path(folder) / "upload"
            await _receive(request, file, served.limits)

            def submit() -> tuple[board.Row, list[str]]:
                return submit_upload(served, challenge, team, name, file, commit=commit, note=note)

            return new_entry(*await to_thread.run_sync(submit, limiter=scoring))

    return router


def _check_head(request: Request, limits: Limits) -> None:
    """Refuse by the head alone what need not be read."""
    if int(request.headers.get("content-length", 0)) > limits.bytes:
        raise Refusal(413, "too-large", f"an upload has at most {limits.bytes:,} bytes")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refusal(415, "not-a-submission", "the body is compressed; send it as it is, or send a zip")
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise Refusal(415, "not-a-submission", "the body is a form; send the file itself, as `curl -T FILE` does")


def _start(served: Served, request: Request, team: str) -> None:
    """Log the upload, unless it is one too many for today."""
    address = request.client.host if request.client else ""
    happening = Happening(team=team, address=address, what=UPLOAD, subject=request.state.subject)
    row, wait = start_upload(served.engine, happening, most=served.limits.uploads)
    if row is None:
        message = f"the team has made {served.limits.uploads} uploads in 24 hours; the next in {wait:,} seconds"
        raise Refusal(429, "too-many-uploads", message, headers={"retry-after": str(wait)})
    request.state.upload_row = row


async def _receive(request: Request, file: Path, limits: Limits) -> None:
    """Write the body to a file as it comes, and no longer or more of it than the limits say."""
    size = 0
    try:
        async with asyncio.timeout(limits.seconds):
            with file.open("wb") as out:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > limits.bytes:
                        raise Refusal(413, "too-large", f"an upload has at most {limits.bytes:,} bytes")
                    out.write(chunk)
    except TimeoutError:
        raise Refusal(408, "too-slow", f"an upload takes at most {limits.seconds:g} seconds") from None
    except ClientDisconnect:
        raise Refusal(400, "cut-off", "the upload ended before its last byte") from None


def _own(served: Served, challenge: Challenge, team: str, name: str) -> board.Row:
    """A team's entry. That another team has one of this name is not told here."""
    found = next((row for row in own_rows(served, challenge, team) if row.name == name), None)
    if found is None:
        raise Refusal(404, "no-such-entry", f"the team has no entry of this name in track {challenge.track.name}")
    return found


def _track_info(served: Served, challenge: Challenge) -> TrackInfo:
    track, rules = challenge.track, store.rules_of(served.engine, challenge.track.name)
    return TrackInfo(
        track=track.name,
        title=track.title,
        score=track.score,
        header=",".join(track.submission_header),
        private_share=rules.private_share,
        revealed=rules.revealed_at is not None,
        limit=rules.most,
        uploads_a_day=served.limits.uploads,
        most_bytes=served.limits.bytes,
    )


async def _on_refusal(request: Request, refusal: Exception) -> JSONResponse:
    assert isinstance(refusal, Refusal)
    request.state.outcome = refusal.code
    return JSONResponse(refused(refusal), refusal.status, refusal.headers)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Refusals of the framework: an unknown page or method, an authorization that is none."""
    assert isinstance(error, HTTPException)
    if error.status_code == UNKNOWN.status:
        return await _on_refusal(request, UNKNOWN)
    code = CODES.get(error.status_code, "bad-request")
    return await _on_refusal(request, Refusal(error.status_code, code, error.detail, headers=dict(error.headers or {})))


async def _on_bad_request(request: Request, error: Exception) -> JSONResponse:
    """A name, commit or note of another form than the schema says. What the client wrote is not repeated."""
    assert isinstance(error, RequestValidationError)
    reasons = tuple(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    names = any(re.search(r"path\.name", reason) for reason in reasons)
    code = "bad-name" if names else "bad-request"
    return await _on_refusal(request, Refusal(422, code, "the request is not of the form that it should have", reasons))


async def _on_error(request: Request, error: Exception) -> JSONResponse:
    LOG.error("%s %s", request.method, request.scope.get("route"), exc_info=error)
    message = "the server has failed; whoever runs it finds the reason in its log"
    return JSONResponse(refused(Refusal(500, "server-error", message)), 500)
