"""Everything that a caller of the router can meet, as one tree; no gRPC and no HTTP in here.

    RouterError
    |- InvalidRequest       the request itself is wrong; `violations` name the fields
    |  |- UnknownParameter      a field that nobody knows
    |  `- UnsupportedParameter  a field that is known, asking for what the router does not do
    |- Unauthenticated      no or a wrong API key
    |- PermissionDenied     the tenant may not ask for this
    |- TenantLimited        the tenant's rate is used up; `retry_after_s`
    |- BudgetExhausted      the tenant's money for the day or month is used up; `retry_after_s`
    |- UnknownModel         no model, alias or class of that name
    |- NotFound             another thing that does not exist
    |- AlreadyExists        a thing to create is there
    |- NoEndpoint           every backend was dropped; `drops` say why
    |- SloInfeasible        the caller prefers an error to a missed objective
    |- Shed                 too much work; `retry_after_s`
    |- DeadlineExceeded     the caller's deadline passed
    |- UpstreamFailed       every attempt failed; `attempts`
    |- StreamBroken         the answer broke off and may not be resumed
    |- StaleVersion         somebody else changed it first; `current`
    |- StoreUnavailable     the state store is away: nothing can be written
    `- ShuttingDown         this replica is going away

`api.rescue` maps each to a status; a test keeps that table total.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from router.domain.decision import Drop
from router.domain.outcome import AttemptOutcome


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that is wrong: its path ("messages[1].content") and what is wrong with it."""

    field: str
    description: str


class RouterError(Exception):
    """Base of all.

    Attributes:
        reason: stable code, upper snake case.
        message: what happened, for a person.
        hint: what to do next.
        retry_after_s: set where waiting helps.
    """

    reason: ClassVar[str] = "INTERNAL"
    default_hint: ClassVar[str] = "This is a fault of the router; report it with the request id."

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint
        self.retry_after_s = retry_after_s

    def metadata(self) -> dict[str, str]:
        """Facts for a program, beside the reason."""
        return {}


class InvalidRequest(RouterError):
    reason = "INVALID_REQUEST"
    default_hint = "Correct the named field and send the request again."

    def __init__(self, *violations: Violation, hint: str | None = None) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations), hint=hint)
        self.violations = violations


class UnknownParameter(InvalidRequest):
    reason = "UNKNOWN_PARAMETER"
    default_hint = "Correct the name of the field, or leave it out."


class UnsupportedParameter(InvalidRequest):
    """Refused, because what a caller asks for is never dropped in silence."""

    reason = "UNSUPPORTED_PARAMETER"
    default_hint = "Leave the named field out, or ask a service that offers it."


class Unauthenticated(RouterError):
    reason = "UNAUTHENTICATED"
    default_hint = "Send a valid API key as 'authorization: Bearer KEY'."


class PermissionDenied(RouterError):
    reason = "PERMISSION_DENIED"
    default_hint = "Ask for something that the tenant may use, or ask its operator to allow it."


class TenantLimited(RouterError):
    """`limit` names the one that is used up: "requests_per_s", "tokens_per_s" or "max_in_flight"."""

    reason = "TENANT_LIMITED"
    default_hint = "Wait for the given time and try again, or ask the operator for a higher limit."

    def __init__(self, message: str, *, tenant: str, limit: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.tenant = tenant
        self.limit = limit

    def metadata(self) -> dict[str, str]:
        return {"tenant": self.tenant, "limit": self.limit}


class BudgetExhausted(TenantLimited):
    """`limit`: "usd_per_day" or "usd_per_month"."""

    reason = "BUDGET_EXHAUSTED"
    default_hint = "The budget begins anew after the given time; the operator may raise it."


class UnknownModel(RouterError):
    reason = "UNKNOWN_MODEL"
    default_hint = "ListModels, or GET /v1/models, names what can be asked for."


class NotFound(RouterError):
    reason = "NOT_FOUND"
    default_hint = "List what exists first."


class AlreadyExists(RouterError):
    reason = "ALREADY_EXISTS"
    default_hint = "Update it, or choose another id."


class NoEndpoint(RouterError):
    reason = "NO_ENDPOINT"
    default_hint = "Loosen the constraint that dropped them, or add a backend; Explain shows each candidate."

    def __init__(self, message: str, *, drops: tuple[Drop, ...], retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.drops = drops

    def metadata(self) -> dict[str, str]:
        return {f"drop/{d.backend}": d.reason.value for d in self.drops[:32]}


class SloInfeasible(RouterError):
    reason = "SLO_INFEASIBLE"
    default_hint = "Loosen the SLO, or ask for best effort."


class Shed(RouterError):
    reason = "SHED"
    default_hint = "Wait for the given time and try again."


class DeadlineExceeded(RouterError):
    reason = "DEADLINE_EXCEEDED"
    default_hint = "Allow more time, or ask for fewer tokens or a faster class."


class UpstreamFailed(RouterError):
    """Every attempt failed. `last_code` is the code of the last `BackendError`."""

    reason = "UPSTREAM_FAILED"
    default_hint = "Try again; the attempts say what went wrong where."

    def __init__(
        self,
        message: str,
        *,
        attempts: tuple[AttemptOutcome, ...],
        last_code: str,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.attempts = attempts
        self.last_code = last_code
        self.param = param

    def metadata(self) -> dict[str, str]:
        return {"last_code": self.last_code} | {
            f"attempt/{n}/{a.backend}": a.result for n, a in enumerate(self.attempts[:8])
        }


class StreamBroken(RouterError):
    reason = "STREAM_BROKEN"
    default_hint = "Send the request again, or allow 'restart' or 'continue' when a stream breaks."


class StaleVersion(RouterError):
    reason = "STALE_VERSION"
    default_hint = "Read the current version, check that the change still makes sense, and send it again."

    def __init__(self, message: str, *, current: int) -> None:
        super().__init__(message)
        self.current = current

    def metadata(self) -> dict[str, str]:
        return {"current_version": str(self.current)}


class StoreUnavailable(RouterError):
    reason = "STORE_UNAVAILABLE"
    default_hint = "Requests are served from the last snapshot; try the change again when the store is back."


class ShuttingDown(RouterError):
    reason = "SHUTTING_DOWN"
    default_hint = "Connect again; another replica answers."
