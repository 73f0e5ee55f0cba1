"""The options that describe a request, shared by `generate` and `explain`, and the message they make."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from router.cli.options import SECONDS
from router.domain.fleet import Capability, PrivacyLevel
from router.domain.request import Objective, Priority, StreamBreakAction
from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb

F = TypeVar("F", bound=Callable[..., Any])


def _names(members: list[str]) -> click.Choice[str]:
    return click.Choice([name.replace("_", "-") for name in members], case_sensitive=False)


_OPTIONS = (
    click.argument("prompt", required=False),
    click.option("--model", "-m", default="auto", show_default=True, help="A model, an alias or a class."),
    click.option("--system", help="A system message before the prompt."),
    click.option("--completion", is_flag=True, help="Send the prompt raw, without a chat template."),
    click.option("--max-tokens", type=click.IntRange(min=1), help="Bound on output tokens."),
    click.option("--temperature", type=float),
    click.option("--seed", type=int),
    click.option("--stop", multiple=True, help="Stop at this text; may be repeated."),
    click.option("--json-object", is_flag=True, help="Ask for a JSON object."),
    click.option("--need", multiple=True, type=_names([c.value for c in Capability]), help="A needed capability."),
    click.option("--min-quality", type=click.FloatRange(0, 1), help="Least quality of the model."),
    click.option("--min-context", type=click.IntRange(min=1), help="Least context window in tokens."),
    click.option("--task", help="The task that quality is looked up for."),
    click.option("--ttft", **SECONDS, help="SLO: time to the first token, such as '300ms' or 0.3."),
    click.option("--tpot", **SECONDS, help="SLO: time per further token."),
    click.option("--e2e", **SECONDS, help="SLO: time to the last token."),
    click.option("--slo-probability", type=click.FloatRange(0, 1), help="Required probability of meeting them."),
    click.option("--reject-infeasible", is_flag=True, help="Refuse when no backend is likely enough to meet them."),
    click.option("--max-cost", type=click.FloatRange(min=0), help="Most dollars that the request may cost."),
    click.option("--privacy", type=_names([p.name for p in PrivacyLevel]), help="How far the prompt may travel."),
    click.option("--region", multiple=True, help="Allowed region, or a prefix: 'eu-*'; may be repeated."),
    click.option("--only", multiple=True, metavar="BACKEND", help="Only this backend; may be repeated."),
    click.option("--exclude", multiple=True, metavar="BACKEND", help="Not this backend; may be repeated."),
    click.option("--objective", type=_names([o.value for o in Objective]), help="What to optimise for."),
    click.option("--class", "workload_class", help="A workload class of the policies, over --objective."),
    click.option("--service-tier", help="The vendors' service to be charged by, where there is a price for it: flex."),
    click.option("--session", help="Requests of one session prefer one backend."),
    click.option("--priority", type=_names([p.name for p in Priority])),
    click.option("--on-break", type=_names([a.value for a in StreamBreakAction]), help="If the stream breaks."),
    click.option("--max-attempts", type=click.IntRange(1, 5)),
)


def request_options(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def prompt_text(prompt: str | None) -> str:
    """The prompt of the command line, or of stdin where it is absent or "-"."""
    if prompt is None or prompt == "-":
        if prompt is None and sys.stdin.isatty():
            raise click.UsageError("give a PROMPT, or write it to stdin")
        prompt = sys.stdin.read()
    if not prompt.strip():
        raise click.UsageError("the prompt is empty")
    return prompt


def build_request(options: dict[str, Any]) -> pb.GenerateRequest:
    """The message that the options describe; what was not given stays unset."""
    text = prompt_text(options["prompt"])
    request = pb.GenerateRequest(model=options["model"])
    if options["completion"]:
        if options["system"]:
            raise click.UsageError("--system needs messages; it does not go with --completion")
        request.prompt = text
    else:
        if options["system"]:
            request.messages.add(role=pb.ROLE_SYSTEM, text=options["system"])
        request.messages.add(role=pb.ROLE_USER, text=text)
    _set(request.sampling, max_output_tokens=options["max_tokens"], temperature=options["temperature"])
    _set(request.sampling, seed=options["seed"], stop=options["stop"])
    if options["json_object"]:
        request.response_format.json_object = True
    _fill_routing(request.routing, options)
    return request


def _fill_routing(routing: pb.RoutingOptions, options: dict[str, Any]) -> None:
    needs = [_member(common_pb2.Capability.Value, "CAPABILITY", name) for name in options["need"]]
    if needs or any(options[name] is not None for name in ("min_quality", "min_context", "task")):
        _set(
            routing.needs,
            capabilities=needs,
            minimum_quality=options["min_quality"],
            minimum_context_tokens=options["min_context"],
            task=options["task"],
        )
    slo = {name: options[short] for name, short in (("ttft_s", "ttft"), ("tpot_s", "tpot"), ("e2e_s", "e2e"))}
    if (
        options["reject_infeasible"]
        or options["slo_probability"] is not None
        or any(v is not None for v in slo.values())
    ):
        _set(routing.slo, probability=options["slo_probability"], **slo)
        if options["reject_infeasible"]:
            routing.slo.on_infeasible = common_pb2.SLO_INFEASIBLE_ACTION_REJECT
    if any(options[name] for name in ("privacy", "region", "only", "exclude")):
        _set(
            routing.placement,
            privacy=_member(common_pb2.PrivacyLevel.Value, "PRIVACY_LEVEL", options["privacy"]),
            regions=options["region"],
            only_backends=options["only"],
            excluded_backends=options["exclude"],
        )
    if options["session"]:
        routing.session.session_id = options["session"]
    _set(
        routing,
        objective=_member(pb.Objective.Value, "OBJECTIVE", options["objective"]),
        priority=_member(pb.Priority.Value, "PRIORITY", options["priority"]),
        on_stream_break=_member(pb.StreamBreakAction.Value, "STREAM_BREAK_ACTION", options["on_break"]),
    )
    _set(routing, max_cost_usd=options["max_cost"], workload_class=options["workload_class"])
    _set(routing, service_tier=options["service_tier"])
    _set(routing, max_attempts=options["max_attempts"])


def _member(number: Callable[[str], int], prefix: str, name: str | None) -> int | None:
    """The number of an enum's member by the name that the command line uses."""
    return number(f"{prefix}_{name.replace('-', '_').upper()}") if name else None


def _set(message: Any, **values: Any) -> None:
    """Sets what is given; extends lists."""
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, list | tuple):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
