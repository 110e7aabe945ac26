"""Errors as this interface says them: a status, and a Problem.

422 Misuse, malformed    400 other Error        403 AccessDenied     404 NotFound
409 what stands in the way: InvalidState, TaskInProgress, LunInUse, LimitReached, QuiesceFailed, …
410 ChangeHistoryLost    500 Corrupt, Bug       501 Unsupported
503 Unreachable, Interrupted                    504 TimedOut         507 NoSpace
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from stuntdouble import errors
from stuntdouble.native.models import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUSES: Final[dict[type[BaseException], tuple[int, str]]] = {
    errors.Misuse: (422, "Correct what is named, and ask again."),
    errors.NotFound: (404, "List what there is, and name one of those."),
    errors.AccessDenied: (403, "Map it to the initiator first."),
    errors.TaskInProgress: (409, "Wait until the running task has ended, and ask again."),
    errors.InvalidState: (409, "Bring it into a state that allows this."),
    errors.FileLocked: (409, "Let whoever has it open let go of it."),
    errors.LunInUse: (409, "Take another LUN number."),
    errors.LimitReached: (409, "Delete one that is not needed any more."),
    errors.QuiesceFailed: (409, "Ask again, or without quiescing."),
    errors.NoSpace: (507, "Free some space, and answer the VMs that were paused."),
    errors.ChangeHistoryLost: (410, "Take a full backup."),
    errors.Unreachable: (503, "It is lost; ask again once it is back."),
    errors.TimedOut: (
        504,
        "The operation goes on: watch the journal, raise the rate or advance the clock.",
    ),
    errors.Interrupted: (503, "Ask again."),
    errors.Corrupt: (500, "The bytes are wrong: do not ask again."),
    errors.Unsupported: (501, "See what is emulated instead."),
    errors.Error: (400, "See what went wrong, and ask for something else."),
    Exception: (500, "This is a bug in stuntdouble, and the site has ended: report it."),
}

RESPONSES: Final[dict[int | str, dict[str, object]]] = {
    status: {"model": Problem, "description": what}
    for status, what in (
        (401, "User and password, or the token, are wrong."),
        (404, "No such thing."),
        (409, "Not in this state."),
        (422, "It makes no sense."),
        (501, "Not emulated."),
        (503, "Lost, or the site was replaced."),
        (504, "It takes longer than this interface waits."),
    )
}


def status_of(error: BaseException) -> tuple[int, str]:
    """Return the status for an error and what to do about it: of its nearest class that has one."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def say_problems(app: FastAPI) -> None:
    """Let every error of *app* be a Problem."""

    def answer(
        request: Request,
        status: int,
        kind: str,
        what: str,
        to_do: str,
        headers: Mapping[str, str] | None = None,
    ) -> JSONResponse:
        where = f"{request.method} {request.url.path}"
        problem = Problem(kind=kind, what=what, where=where, what_to_do=to_do)
        return JSONResponse(problem.model_dump(), status, headers=headers)

    def ours(request: Request, error: Exception) -> JSONResponse:
        status, to_do = status_of(error)
        return answer(request, status, type(error).__name__, str(error), to_do)

    def malformed(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return answer(
            request, 422, "Misuse", f"{where}: {first['msg']}", STATUSES[errors.Misuse][1]
        )

    def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        status = error.status_code
        kind = {401: "AccessDenied", 404: "NotFound", 405: "Unsupported"}.get(status, "Misuse")
        to_do = "The OpenAPI document lists every path, method and body."
        if status == 401:
            to_do = "Send user and password (Basic), or the token that they give (Bearer)."
        return answer(request, status, kind, str(error.detail), to_do, error.headers)

    app.add_exception_handler(errors.Error, ours)
    app.add_exception_handler(Exception, ours)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, http)
