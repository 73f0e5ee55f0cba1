"""The director's events as protobuf."""

from __future__ import annotations

import pytest

from backends.contract import Chunk, FinishReason, ReasoningBlock, TokenLogprob, ToolCallDelta, Usage
from router.api.wire import proto_response as wire
from router.dispatch.events import Finished, ModelListing, Pick, Rerouted, Routed
from router.domain.decision import Candidate, Decision, Drop, DropReason, EstimateSource, HardwareLabel, Prediction
from router.domain.fleet import Backend, PrivacyLevel
from router.domain.outcome import AttemptOutcome, Outcome, TokenUsage
from router.domain.request import StreamBreakAction
from router.v1 import common_pb2 as common
from router.v1 import inference_pb2 as pb

H100 = HardwareLabel(id="h100", name="H100", count=8, emulated=True)
PREDICTION = Prediction(
    ttft_s=0.1,
    ttft_sd_log=0.2,
    ttft_p90_s=0.15,
    tpot_s=0.01,
    tpot_sd_log=0.3,
    tpot_p90_s=0.02,
    e2e_s=1.0,
    e2e_sd_log=0.4,
    e2e_p90_s=1.5,
    input_tokens=10.0,
    output_tokens=90.0,
    cost_usd=0.001,
    cost_p90_usd=0.002,
    cost_marginal_usd=0.0005,
    cost_amortised_usd=0.003,
    energy_j=50.0,
    p_ttft=0.9,
    p_tpot=0.8,
    p_e2e=0.7,
    source=EstimateSource.MIXED,
    observations=12,
)


def candidate(backend: str) -> Candidate:
    return Candidate(
        backend=backend,
        model="llama",
        upstream_model="meta/llama",
        hardware=H100,
        region="eu-1",
        privacy=PrivacyLevel.OWN_HARDWARE,
        prediction=PREDICTION,
        objective_usd=0.5,
        terms=(("latency", 0.3), ("cost", 0.2)),
        slo_feasible=True,
        in_flight=3.0,
    )


DECISION = Decision(
    id="r1",
    ranked=tuple(candidate(name) for name in ("a", "b", "c", "d")),
    fallbacks=("b", "c"),
    drops=(Drop(backend="z", reason=DropReason.PRIVACY, detail="hosted", hardware=H100),),
    why="cheapest that meets the objective",
    snapshot_version=7,
    snapshot_age_s=0.25,
    workload_class="chat",
    max_attempts=3,
    decision_time_s=0.0001,
    decided_at=1_800_000_000.5,
)


def delta(chunk: Chunk) -> pb.Delta:
    message = wire.encode_chunk(chunk)
    assert message is not None
    return message.delta


def test_a_chunk_of_text_is_one_text_delta() -> None:
    """All tokens of one upstream read travel in one message, with their number."""
    assert delta(Chunk(text="Hello there", events=3)) == pb.Delta(text=pb.TextDelta(text="Hello there", events=3))


def test_a_chunk_of_everything_is_one_delta() -> None:
    """Reasoning, text, tool calls and logprobs of one read stay together; its events are counted once."""
    chunk = Chunk(
        text="x",
        reasoning="because",
        tool_calls=(ToolCallDelta(index=1, id="c", name="f", arguments="{"), ToolCallDelta(index=1, arguments="}")),
        logprobs=(
            TokenLogprob(token="é", logprob=-0.5, bytes=(195, 169), top=(TokenLogprob(token="e", logprob=-2.0),)),
        ),
        events=4,
    )

    assert delta(chunk) == pb.Delta(
        text=pb.TextDelta(text="x", events=4),
        reasoning=pb.TextDelta(text="because"),
        tool_calls=[
            pb.ToolCallDelta(index=1, id="c", name="f", arguments_json="{"),
            pb.ToolCallDelta(index=1, arguments_json="}"),
        ],
        logprobs=[
            pb.TokenLogprob(
                token="é",
                logprob=-0.5,
                token_bytes="é".encode(),
                top=[pb.TopLogprob(token="e", logprob=-2.0)],
            )
        ],
    )


def test_signatures_travel_with_what_they_sign() -> None:
    """A block that ended comes whole, also alone; a call's signature comes with the call."""
    blocks = (ReasoningBlock(text="hm", signature="s1"), ReasoningBlock(signature="data", redacted=True))

    assert delta(Chunk(signed=blocks)) == pb.Delta(
        signed=[pb.ReasoningBlock(text="hm", signature="s1"), pb.ReasoningBlock(signature="data", redacted=True)]
    )
    assert delta(Chunk(text="x", events=1, signed=blocks[:1])).signed[0].signature == "s1"
    signed = Chunk(tool_calls=(ToolCallDelta(index=0, id="c", name="f", signature="s2"),), events=1)
    assert delta(signed).tool_calls[0].signature == "s2"


def test_reasoning_alone_carries_the_events() -> None:
    """Where there is no text the events belong to the reasoning."""
    assert delta(Chunk(reasoning="hm", events=2)) == pb.Delta(reasoning=pb.TextDelta(text="hm", events=2))


@pytest.mark.parametrize(
    "chunk", [Chunk(), Chunk(usage=Usage(input=1)), Chunk(finish_reason=FinishReason.STOP)], ids=["", "usage", "end"]
)
def test_a_chunk_without_content_is_no_message(chunk: Chunk) -> None:
    """What only the router needs of a read is not sent; `finished` tells it in the end."""
    assert wire.encode_event(chunk, explain=False) is None


def test_routed_tells_the_decision_in_short() -> None:
    """The first message names backend, hardware, prediction and fallbacks, without the candidates' numbers."""
    message = wire.encode_event(Routed(decision=DECISION, candidate=candidate("b")), explain=False)

    assert message is not None
    routed = message.routed
    assert (routed.backend, routed.model, routed.upstream_model) == ("b", "llama", "meta/llama")
    assert routed.hardware == common.Hardware(id="h100", name="H100", count=8, emulated=True)
    assert routed.prediction.ttft == common.Estimate(mean=0.1, sd_log=0.2, p90=0.15)
    assert routed.prediction.source == common.ESTIMATE_SOURCE_MIXED
    assert routed.decision.id == "r1"
    assert list(routed.decision.fallbacks) == ["b", "c"]
    assert routed.decision.decided_at.ToMilliseconds() == 1_800_000_000_500
    assert not routed.decision.candidates
    assert not routed.decision.drops


def test_explain_tells_the_whole_decision() -> None:
    """With `explain` each candidate's numbers and each drop's reason are there."""
    message = wire.encode_event(Routed(decision=DECISION, candidate=candidate("a")), explain=True)

    assert message is not None
    decision = message.routed.decision
    assert [c.backend for c in decision.candidates] == ["a", "b", "c", "d"]
    assert decision.candidates[0].privacy == common.PRIVACY_LEVEL_OWN_HARDWARE
    assert [(t.name, t.usd) for t in decision.candidates[0].terms] == [("latency", 0.3), ("cost", 0.2)]
    assert [(d.backend, d.reason, d.detail) for d in decision.drops] == [("z", "PRIVACY", "hosted")]


def test_an_empty_decision_is_told_as_such() -> None:
    """When nothing could be chosen the backend is empty and the drops say why."""
    decision = wire.encode_decision(Decision(id="r", ranked=(), drops=DECISION.drops), whole=True)

    assert decision.backend == ""
    assert len(decision.drops) == 1


@pytest.mark.parametrize("resume", list(StreamBreakAction))
def test_rerouted_says_what_becomes_of_the_text_so_far(resume: StreamBreakAction) -> None:
    """Each way to resume has its value in the proto."""
    event = Rerouted(from_backend="a", candidate=candidate("b"), reason="TIMED_OUT", detail="1 s", resume=resume)

    message = wire.encode_event(event, explain=False)

    assert message is not None
    rerouted = message.rerouted
    assert (rerouted.from_backend, rerouted.to.backend, rerouted.reason) == ("a", "b", "TIMED_OUT")
    assert pb.StreamBreakAction.Name(rerouted.resume) == f"STREAM_BREAK_ACTION_{resume.name}"


@pytest.mark.parametrize("reason", list(FinishReason))
def test_finished_accounts_for_the_request(reason: FinishReason) -> None:
    """The last message has the reason, usage, cost, timings and every attempt."""
    outcome = Outcome(
        request_id="r1",
        finish_reason=reason.value,
        stop_sequence="END",
        usage=TokenUsage(input=10, cached_input=4, output=5, reasoning=2, estimated=True),
        cost_usd=0.1,
        energy_j=2.0,
        started_at=1_800_000_000.0,
        ttft_s=0.1,
        tpot_s=0.01,
        e2e_s=1.0,
        routing_s=0.001,
        upstream_queue_s=0.0,
        attempts=(
            AttemptOutcome(backend="a", model="m", result="TIMED_OUT", duration_s=1.0),
            AttemptOutcome(backend="b", model="m", result="OK"),
        ),
    )

    message = wire.encode_event(Finished(outcome=outcome, candidate=candidate("b")), explain=False)

    assert message is not None
    finished = message.finished
    assert common.FinishReason.Name(finished.reason) == f"FINISH_REASON_{reason.name}"
    assert finished.usage == common.Usage(
        input_tokens=10, cached_input_tokens=4, output_tokens=5, reasoning_tokens=2, estimated=True
    )
    assert finished.timings.HasField("upstream_queue_s")
    assert not finished.timings.HasField("upstream_prefill_s")
    assert [(a.backend, a.result) for a in finished.attempts] == [("a", "TIMED_OUT"), ("b", "OK")]
    assert (finished.backend, finished.request_id, finished.stop_sequence) == ("b", "r1", "END")


def test_a_pick_gives_addresses_in_order() -> None:
    """The choice and its fallbacks come with what a caller needs to reach them."""
    backends = [Backend(id=name, wire="openai_chat", address=f"http://{name}:8000", models=()) for name in ("a", "b")]
    pick = Pick(
        pick_id="p",
        decision=DECISION,
        endpoints=tuple((candidate(b.id), b) for b in backends),
        expires_at_unix=1_800_000_030.0,
    )

    response = wire.encode_pick(pick)

    assert response.endpoint.address == "http://a:8000"
    assert response.endpoint.wire == "openai_chat"
    assert [e.backend for e in response.fallbacks] == ["b"]
    assert response.expires_at.seconds == 1_800_000_030


def test_models_are_listed_with_what_they_stand_for() -> None:
    """Models, aliases and classes keep their kind and members."""
    listing = ModelListing(id="fast", kind="alias", members=("llama",), context_tokens=8_192, backends=("a",))

    assert wire.encode_models((listing,)) == pb.ListModelsResponse(
        models=[pb.ModelInfo(id="fast", kind="alias", members=["llama"], context_tokens=8_192, backends=["a"])]
    )
