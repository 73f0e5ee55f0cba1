"""The frame around a call of the admin port: who calls, and what status an error becomes.

Every service of that port uses it, so that all of them name the author of a change and report errors alike.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio

from router.api import rescue
from router.api.inference_service import request_id_of
from router.domain.audit import Author

ACTOR_KEY = "x-actor"
_ACTOR = re.compile(r"[\x20-\x7e]{1,128}")

Context = grpc.aio.ServicerContext[Any, Any]
Service = TypeVar("Service")
Request = TypeVar("Request")
Response = TypeVar("Response")


def answering(
    work: Callable[[Service, Request, Author], Awaitable[Response]],
) -> Callable[[Service, Request, Context], Awaitable[Response]]:
    """A handler of what takes a request and its author; its errors become statuses."""

    @functools.wraps(work)
    async def handler(self: Service, request: Request, context: Context) -> Response:
        try:
            return await work(self, request, author_of(context, work.__name__))
        except Exception as error:  # noqa: BLE001 - the outermost frame: rescue decides, and logs what nobody foresaw
            await rescue.abort(context, error, request_id_of(context))

    return handler


def author_of(context: Context, action: str) -> Author:
    """Whom the change record names: what the caller calls itself, else where it calls from."""
    origin = str(context.peer())
    for key, value in context.invocation_metadata() or ():
        if key == ACTOR_KEY and isinstance(value, str) and _ACTOR.fullmatch(value):
            return Author(actor=value, origin=origin, action=action)
    return Author(actor=origin, origin=origin, action=action)
