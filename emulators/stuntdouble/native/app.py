"""The application: every path under ``/api/v1``, its document, its page, and who may ask."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.security.http import HTTPBase
from pydantic import Field

from stuntdouble.native import models as m
from stuntdouble.native.changing import (
    array_paths,
    clock_paths,
    fault_paths,
    mapping_paths,
    quirk_paths,
)
from stuntdouble.native.crossing import Crossing, Here
from stuntdouble.native.limits import BodyLimit
from stuntdouble.native.overlays import overlay_paths
from stuntdouble.native.page import add_page, swagger_files
from stuntdouble.native.problems import RESPONSES, say_problems
from stuntdouble.native.watching import history_paths, oracle_paths, site_paths

if TYPE_CHECKING:
    from pathlib import Path

    from stuntdouble.native.access import Access
    from stuntdouble.native.control import Control

PREFIX: Final = "/api/v1"

_DESCRIPTION: Final = (
    "What vendors' interfaces do not say of an emulated site: its clock, its truth, its faults and"
    " quirks, where disks lie, what has happened, and checkpoints.  Times are seconds of site time,"
    " sizes and offsets bytes.  An error is a Problem: its kind, what went wrong, where, and what"
    " to do."
)


class Token(m.Said):
    """What may stand in the password's place: `Authorization: Bearer <token>`."""

    token: Annotated[str, Field(min_length=1)]


def create_app(
    control: Control,
    access: Access | None = None,
    cross: Crossing | None = None,
    swagger: Path | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        control: the site.
        access: who may ask; None for everybody.
        cross: how to get to the site's loop; None where it is the one that serves.
        swagger: directory of Swagger UI's files; None for those that are installed, if any.
    """
    cross = cross or Here()
    app = FastAPI(
        title="stuntdouble",
        version=version("stuntdouble"),
        description=_DESCRIPTION,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    say_problems(app)
    app.add_middleware(BodyLimit, long=f"{PREFIX}/restore")
    app.include_router(_open_paths(control, cross), prefix=PREFIX)
    # These say in the document how to sign in; it is access that looks.
    guards = [
        Depends(HTTPBase(scheme=name, scheme_name=name, auto_error=False))
        for name in ("basic", "bearer")
    ]
    guarded = APIRouter(
        prefix=PREFIX,
        responses=RESPONSES,
        dependencies=[] if access is None else [*guards, Depends(access.required)],
    )
    if access is not None:
        guarded.include_router(_token_paths(access))
    for paths in (site_paths, clock_paths, history_paths, oracle_paths):
        guarded.include_router(paths(control, cross))
    for paths in (quirk_paths, fault_paths, overlay_paths, array_paths, mapping_paths):
        guarded.include_router(paths(control, cross))
    app.include_router(guarded)
    add_page(app, PREFIX, swagger or swagger_files())
    return app


def _open_paths(control: Control, cross: Crossing) -> APIRouter:
    paths = APIRouter(tags=["site"])

    @paths.get("/health")
    async def health() -> m.Health:
        """Tell whether the site answers; nobody is asked for a password."""
        return await cross(control.health())

    return paths


def _token_paths(access: Access) -> APIRouter:
    paths = APIRouter(tags=["access"])

    @paths.post("/token")
    async def token() -> Token:
        """Exchange user and password for a token, good until the site ends."""
        return Token(token=access.token)

    return paths
