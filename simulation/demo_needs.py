"""What the demonstration asks for: the same needs for both faces of the router.

A need is written once, in the words of the HTTP face (the `router` object of a request body); `routing_options` says
the same in the words of inference.proto.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One request. `router` holds the routing wishes; `tool` is offered, and has to be called."""

    title: str
    model: str
    prompt: str
    max_tokens: int = 120
    router: Mapping[str, Any] = field(default_factory=dict)
    tool: Mapping[str, Any] | None = None


_REPORT = "Clause 17: the carrier answers for delay, loss and damage between taking over and delivery. "

NEEDS = (
    Need(
        title="Realtime chat",
        model="fast-chat",
        prompt="Answer at once: why is the sky blue?",
        router={"workload_class": "realtime"},
    ),
    Need(
        title="Cheap batch",
        model="fast-chat",
        prompt="Summarise this week's support tickets in one paragraph.",
        router={"objective": "cost"},
    ),
    Need(
        title="Private: on this device only",
        model="auto",
        prompt="In one sentence, what is a diary for?",
        max_tokens=48,
        router={"privacy": "on_device", "workload_class": "private"},
    ),
    Need(
        title="Own hardware in the EU",
        model="smart-chat",
        prompt="Draft a reply to a patient who asks for their records.",
        router={"privacy": "own_hardware", "regions": ["eu-*"]},
    ),
    Need(
        title="Long context (45,000 tokens)",
        model="smart-chat",
        prompt="Who carries the risk of delay? " + _REPORT * 1960,
    ),
    Need(
        title="Tool call",
        model="auto",
        prompt="What is the weather in Oslo?",
        router={"workload_class": "agentic"},
        tool=WEATHER,
    ),
    Need(
        title="At most $0.0001",
        model="smart-chat",
        prompt="Explain in a paragraph how a bill becomes a law.",
        max_tokens=100,
        router={"max_cost_usd": 0.0001, "objective": "latency"},
    ),
    Need(
        title="1 ms to the first token: best effort",
        model="fast-chat",
        prompt="Faster than anybody can!",
        router={"slo": {"ttft_s": 0.001, "on_infeasible": "best_effort"}, "objective": "latency"},
    ),
    Need(
        title="1 ms to the first token, or not at all",
        model="fast-chat",
        prompt="Faster than anybody can!",
        router={"slo": {"ttft_s": 0.001, "on_infeasible": "reject"}, "objective": "latency"},
    ),
)


def grpc_request(need: Need) -> pb.GenerateRequest:
    request = pb.GenerateRequest(
        model=need.model,
        messages=[pb.Message(role=pb.ROLE_USER, text=need.prompt)],
        sampling=pb.Sampling(max_output_tokens=need.max_tokens, temperature=0.0),
        routing=routing_options(need.router),
    )
    if need.tool is not None:
        request.tools.add(
            name=need.tool["name"],
            description=need.tool["description"],
            parameters_json=json.dumps(need.tool["parameters"]),
        )
        request.tool_choice.mode = pb.TOOL_CHOICE_MODE_REQUIRED
    return request


def http_request(need: Need) -> dict[str, Any]:
    """The arguments of the official SDK's `chat.completions.create`."""
    arguments: dict[str, Any] = {
        "model": need.model,
        "messages": [{"role": "user", "content": need.prompt}],
        "max_tokens": need.max_tokens,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "extra_body": {"router": {**need.router, "explain": True}},
    }
    if need.tool is not None:
        arguments["tools"] = [{"type": "function", "function": need.tool}]
        arguments["tool_choice"] = "required"
    return arguments


def routing_options(router: Mapping[str, Any]) -> pb.RoutingOptions:
    """The same wishes as a message.

    Raises:
        KeyError: a wish that the demonstration does not use.
    """
    slo = common_pb2.Slo()
    placement = common_pb2.Placement()
    options = pb.RoutingOptions(explain=True)
    for name, value in router.items():
        if name == "privacy":
            placement = common_pb2.Placement(privacy=f"PRIVACY_LEVEL_{value.upper()}", regions=placement.regions)
        elif name == "regions":
            placement.regions.extend(value)
        elif name == "objective":
            options.MergeFrom(pb.RoutingOptions(objective=f"OBJECTIVE_{value.upper()}"))
        elif name == "workload_class":
            options.workload_class = value
        elif name == "max_cost_usd":
            options.max_cost_usd = value
        elif name == "slo":
            action = f"SLO_INFEASIBLE_ACTION_{value['on_infeasible'].upper()}"
            slo = common_pb2.Slo(ttft_s=value["ttft_s"], on_infeasible=action)
        else:
            raise KeyError(name)
    options.slo.CopyFrom(slo)
    options.placement.CopyFrom(placement)
    return options
