"""Routing wishes of an HTTP caller: the body's `router` object and the `x-router-*` headers say the same things.

The official SDK sends the first with `extra_body={"router": {...}}`; the second is for tools whose body one cannot
change, and for proxies. Where both speak of one thing, the body wins. What nobody knows is refused: a misspelt privacy
level must not send a prompt anywhere it may not go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from router.api.wire.checks import MAX_NAME
from router.api.wire.openai_problems import invalid, nearest
from router.domain.fleet import Capability, PrivacyLevel
from router.domain.request import Objective, Placement, Priority, Slo, StreamBreakAction
from router.errors import InvalidRequest, UnknownParameter, Violation

_PREFIX = b"x-router-"
_Seconds = Annotated[float, Meta(gt=0, le=86_400)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Label = Annotated[str, Meta(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Labels = Annotated[list[_Label], Meta(max_length=256)]
_Tokens = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class SloWishes(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    ttft_s: _Seconds | None = None
    tpot_s: _Seconds | None = None
    e2e_s: _Seconds | None = None
    probability: Annotated[float, Meta(gt=0, lt=1)] | None = None
    on_infeasible: Literal["best_effort", "reject"] | None = None


class RouterOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The same wishes as `RoutingOptions` of inference.proto, under the same names."""

    slo: SloWishes | None = None
    max_cost_usd: Annotated[float, Meta(ge=0)] | None = None
    privacy: Literal["any", "no_training", "zero_retention", "own_hardware", "on_device"] | None = None
    regions: _Labels | None = None
    only_backends: _Labels | None = None
    excluded_backends: _Labels | None = None
    objective: Objective | None = None
    workload_class: _Label | None = None
    service_tier: _Label | None = None
    session_id: _Label | None = None
    shared_prefix_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    priority: Literal["sheddable", "normal", "critical"] | None = None
    on_stream_break: StreamBreakAction | None = None
    idempotency_key: _Label | None = None
    capabilities: list[Capability] | None = None
    minimum_quality: _Share | None = None
    minimum_context_tokens: _Tokens | None = None
    expected_output_tokens: _Tokens | None = None
    task: _Label | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=5)] | None = None
    timeout_s: _Seconds | None = None
    explain: bool | None = None


_Wishes = TypeVar("_Wishes", bound=msgspec.Struct)

NO_OPTIONS = RouterOptions()
_NO_SLO = Slo()
_NO_PLACEMENT = Placement()
_LISTS = frozenset({"regions", "only_backends", "excluded_backends", "capabilities"})
_SLO = "slo."


def _header_names() -> dict[bytes, str]:
    paths = [name for name in RouterOptions.__struct_fields__ if name != "slo"]
    paths += [_SLO + name for name in SloWishes.__struct_fields__]
    return {_PREFIX + path.replace(".", "-").replace("_", "-").encode(): path for path in paths}


_PATH_OF_HEADER = _header_names()
_HEADER_OF_PATH = {path: header.decode() for header, path in _PATH_OF_HEADER.items()}


def options_from_headers(headers: Iterable[tuple[bytes, bytes]]) -> RouterOptions | None:
    """The wishes in `x-router-*` headers, None where there is none; names are lower case, as ASGI gives them."""
    values: dict[str, Any] = {}
    for name, raw in headers:
        if not name.startswith(_PREFIX):
            continue
        path = _PATH_OF_HEADER.get(name)
        if path is None:
            shown = name.decode("latin-1")
            near = nearest(shown, _HEADER_OF_PATH.values())
            raise UnknownParameter(Violation(shown, f"is not a known header{near}"))
        text = raw.decode("latin-1").strip()
        if path in _LISTS:
            values.setdefault(path, []).extend(part.strip() for part in text.split(",") if part.strip())
        elif path.startswith(_SLO):
            values.setdefault("slo", {})[path.removeprefix(_SLO)] = text
        else:
            values[path] = text
    if not values:
        return None
    try:
        return msgspec.convert(values, RouterOptions, strict=False)
    except msgspec.ValidationError as error:
        refused = invalid(str(error), RouterOptions)
        raise InvalidRequest(
            *(Violation(_header_of(violation.field), violation.description) for violation in refused.violations)
        ) from None


def _header_of(path: str) -> str:
    """The header behind a path such as "slo.ttft_s" or "regions.0"."""
    while path and path not in _HEADER_OF_PATH:
        path = path.rpartition(".")[0]
    return _HEADER_OF_PATH.get(path, "x-router")


def merge(body: RouterOptions | None, headers: RouterOptions | None) -> RouterOptions:
    """Both together; the body's word counts where both speak."""
    if headers is None:
        return body if body is not None else NO_OPTIONS
    if body is None:
        return headers
    merged = _over(body, headers)
    if body.slo is not None and headers.slo is not None:
        merged.slo = _over(body.slo, headers.slo)
    return merged


def _over(upper: _Wishes, lower: _Wishes) -> _Wishes:
    said = {name: value for name, value in msgspec.structs.asdict(upper).items() if value is not None}
    return msgspec.structs.replace(lower, **said)


def slo(options: RouterOptions) -> Slo:
    wishes = options.slo
    if wishes is None:
        return _NO_SLO
    return Slo(
        ttft_s=wishes.ttft_s,
        tpot_s=wishes.tpot_s,
        e2e_s=wishes.e2e_s,
        probability=wishes.probability,
        reject_infeasible=wishes.on_infeasible == "reject",
    )


def placement(options: RouterOptions) -> Placement:
    if not (options.privacy or options.regions or options.only_backends or options.excluded_backends):
        return _NO_PLACEMENT
    return Placement(
        privacy=PrivacyLevel[options.privacy.upper()] if options.privacy else PrivacyLevel.ANY,
        regions=tuple(options.regions or ()),
        only_backends=tuple(options.only_backends or ()),
        excluded_backends=tuple(options.excluded_backends or ()),
    )


def priority(options: RouterOptions) -> Priority:
    return Priority[options.priority.upper()] if options.priority else Priority.NORMAL
