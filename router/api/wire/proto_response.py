"""From what the director yields to protobuf.

`encode_chunk` runs once per upstream read, so it fills the message in place and touches only what the chunk holds. The
rest is written once per request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from backends.contract import Chunk, TokenLogprob
from router.dispatch.events import Finished, ModelListing, Pick, Rerouted, Routed, ServeEvent
from router.domain import decision as domain
from router.domain.fleet import Backend, PrivacyLevel
from router.domain.outcome import Outcome, TokenUsage
from router.domain.request import StreamBreakAction
from router.v1 import common_pb2 as common
from router.v1 import inference_pb2 as pb

_FINISH_REASONS: Mapping[str, common.FinishReason] = {
    "stop": common.FINISH_REASON_STOP,
    "length": common.FINISH_REASON_LENGTH,
    "tool_calls": common.FINISH_REASON_TOOL_CALLS,
    "content_filter": common.FINISH_REASON_CONTENT_FILTER,
    "error": common.FINISH_REASON_ERROR,
}
_SOURCES: Mapping[domain.EstimateSource, common.EstimateSource] = {
    domain.EstimateSource.PRIOR: common.ESTIMATE_SOURCE_PRIOR,
    domain.EstimateSource.MIXED: common.ESTIMATE_SOURCE_MIXED,
    domain.EstimateSource.LEARNED: common.ESTIMATE_SOURCE_LEARNED,
}
_PRIVACY: Mapping[PrivacyLevel, common.PrivacyLevel] = {
    PrivacyLevel.ANY: common.PRIVACY_LEVEL_ANY,
    PrivacyLevel.NO_TRAINING: common.PRIVACY_LEVEL_NO_TRAINING,
    PrivacyLevel.ZERO_RETENTION: common.PRIVACY_LEVEL_ZERO_RETENTION,
    PrivacyLevel.OWN_HARDWARE: common.PRIVACY_LEVEL_OWN_HARDWARE,
    PrivacyLevel.ON_DEVICE: common.PRIVACY_LEVEL_ON_DEVICE,
}
_RESUMES: Mapping[StreamBreakAction, pb.StreamBreakAction] = {
    StreamBreakAction.ERROR: pb.STREAM_BREAK_ACTION_ERROR,
    StreamBreakAction.RESTART: pb.STREAM_BREAK_ACTION_RESTART,
    StreamBreakAction.CONTINUE: pb.STREAM_BREAK_ACTION_CONTINUE,
}


def encode_event(event: ServeEvent, *, explain: bool) -> pb.GenerateResponse | None:
    """The message of one event; None for a chunk that brings nothing a client can see, such as usage alone."""
    if isinstance(event, Chunk):
        return encode_chunk(event)
    if isinstance(event, Routed):
        return pb.GenerateResponse(routed=encode_routed(event, explain=explain))
    if isinstance(event, Rerouted):
        return pb.GenerateResponse(rerouted=encode_rerouted(event))
    return pb.GenerateResponse(finished=encode_finished(event))


def encode_chunk(
    chunk: Chunk, _new: Callable[[], pb.GenerateResponse] = pb.GenerateResponse
) -> pb.GenerateResponse | None:
    response = _new()
    if chunk.text:
        text = response.delta.text
        text.text = chunk.text
        text.events = chunk.events
        if not (chunk.reasoning or chunk.tool_calls or chunk.logprobs or chunk.signed):
            return response
    elif not (chunk.reasoning or chunk.tool_calls or chunk.logprobs or chunk.signed):
        return None
    delta = response.delta
    if chunk.reasoning:
        delta.reasoning.text = chunk.reasoning
        # The chunk counts its events once; where it brings both kinds, they are told with the text.
        delta.reasoning.events = 0 if chunk.text else chunk.events
    for call in chunk.tool_calls:
        delta.tool_calls.add(
            index=call.index, id=call.id, name=call.name, arguments_json=call.arguments, signature=call.signature
        )
    for block in chunk.signed:
        delta.signed.add(text=block.text, signature=block.signature, redacted=block.redacted)
    for token in chunk.logprobs:
        _encode_logprob(delta.logprobs.add(), token)
    return response


def _encode_logprob(into: pb.TokenLogprob, token: TokenLogprob) -> None:
    into.token = token.token
    into.logprob = token.logprob
    into.token_bytes = bytes(token.bytes or ())
    for top in token.top:
        into.top.add(token=top.token, logprob=top.logprob, token_bytes=bytes(top.bytes or ()))


def encode_routed(event: Routed, *, explain: bool) -> pb.Routed:
    routed = _routed(event.candidate)
    routed.decision.CopyFrom(encode_decision(event.decision, whole=explain))
    return routed


def encode_rerouted(event: Rerouted) -> pb.Rerouted:
    return pb.Rerouted(
        from_backend=event.from_backend,
        to=_routed(event.candidate),
        reason=event.reason,
        detail=event.detail,
        resume=_RESUMES[event.resume],
    )


def encode_finished(event: Finished) -> pb.Finished:
    outcome = event.outcome
    return pb.Finished(
        reason=_FINISH_REASONS.get(outcome.finish_reason, common.FINISH_REASON_UNSPECIFIED),
        usage=_usage(outcome.usage),
        cost_usd=outcome.cost_usd,
        energy_j=outcome.energy_j,
        carbon_g=outcome.carbon_g,
        timings=_timings(outcome),
        backend=event.candidate.backend,
        model=event.candidate.model,
        hardware=_hardware(event.candidate.hardware),
        attempts=[
            pb.Attempt(
                backend=a.backend, result=a.result, detail=a.detail, duration_s=a.duration_s, cost_usd=a.cost_usd
            )
            for a in outcome.attempts
        ],
        request_id=outcome.request_id,
        stop_sequence=outcome.stop_sequence,
    )


def encode_decision(decision: domain.Decision, *, whole: bool) -> common.Decision:
    """A decision; candidates and drops only in the whole one, for there may be a thousand of them."""
    chosen = decision.chosen
    encoded = common.Decision(
        id=decision.id,
        backend=chosen.backend if chosen else "",
        model=chosen.model if chosen else "",
        fallbacks=decision.fallbacks,
        why=decision.why,
        snapshot_version=decision.snapshot_version,
        snapshot_age_s=decision.snapshot_age_s,
        slo_infeasible=decision.slo_infeasible,
        workload_class=decision.workload_class,
        decision_time_s=decision.decision_time_s,
        decided_at=_timestamp(decision.decided_at),
    )
    if whole:
        encoded.candidates.extend([_candidate(c) for c in decision.ranked])
        encoded.drops.extend([_drop(d) for d in decision.drops])
    return encoded


def encode_pick(pick: Pick, *, explain: bool = False) -> pb.PickResponse:
    endpoints = [_endpoint(candidate, backend) for candidate, backend in pick.endpoints]
    return pb.PickResponse(
        pick_id=pick.pick_id,
        endpoint=endpoints[0] if endpoints else None,
        fallbacks=endpoints[1:],
        decision=encode_decision(pick.decision, whole=explain),
        expires_at=_timestamp(pick.expires_at_unix),
    )


def encode_models(models: tuple[ModelListing, ...]) -> pb.ListModelsResponse:
    return pb.ListModelsResponse(
        models=[
            pb.ModelInfo(id=m.id, kind=m.kind, members=m.members, context_tokens=m.context_tokens, backends=m.backends)
            for m in models
        ]
    )


def _routed(candidate: domain.Candidate) -> pb.Routed:
    return pb.Routed(
        backend=candidate.backend,
        model=candidate.model,
        upstream_model=candidate.upstream_model,
        hardware=_hardware(candidate.hardware),
        region=candidate.region,
        prediction=_prediction(candidate.prediction),
    )


def _endpoint(candidate: domain.Candidate, backend: Backend) -> pb.Endpoint:
    return pb.Endpoint(
        backend=backend.id,
        address=backend.address,
        upstream_model=candidate.upstream_model,
        wire=backend.wire,
        hardware=_hardware(candidate.hardware),
    )


def _candidate(candidate: domain.Candidate) -> common.CandidateReport:
    return common.CandidateReport(
        backend=candidate.backend,
        model=candidate.model,
        hardware=_hardware(candidate.hardware),
        region=candidate.region,
        privacy=_PRIVACY[candidate.privacy],
        prediction=_prediction(candidate.prediction),
        objective_usd=candidate.objective_usd,
        terms=[common.ObjectiveTerm(name=name, usd=usd) for name, usd in candidate.terms],
        slo_feasible=candidate.slo_feasible,
        in_flight=candidate.in_flight,
    )


def _drop(drop: domain.Drop) -> common.Drop:
    return common.Drop(
        backend=drop.backend, reason=drop.reason.value, detail=drop.detail, hardware=_hardware(drop.hardware)
    )


def _hardware(label: domain.HardwareLabel) -> common.Hardware:
    return common.Hardware(id=label.id, name=label.name, count=label.count, emulated=label.emulated)


def _prediction(p: domain.Prediction) -> common.Prediction:
    return common.Prediction(
        ttft=common.Estimate(mean=p.ttft_s, sd_log=p.ttft_sd_log, p90=p.ttft_p90_s),
        tpot=common.Estimate(mean=p.tpot_s, sd_log=p.tpot_sd_log, p90=p.tpot_p90_s),
        e2e=common.Estimate(mean=p.e2e_s, sd_log=p.e2e_sd_log, p90=p.e2e_p90_s),
        input_tokens=p.input_tokens,
        output_tokens=p.output_tokens,
        cost_usd=p.cost_usd,
        cost_p90_usd=p.cost_p90_usd,
        cost_marginal_usd=p.cost_marginal_usd,
        cost_amortised_usd=p.cost_amortised_usd,
        energy_j=p.energy_j,
        carbon_g=p.carbon_g,
        cached_tokens=p.cached_tokens,
        cost_lines=[common.ObjectiveTerm(name=name, usd=usd) for name, usd in p.cost_lines],
        probability_ttft=p.p_ttft,
        probability_tpot=p.p_tpot,
        probability_e2e=p.p_e2e,
        source=_SOURCES[p.source],
        observations=p.observations,
    )


def _usage(usage: TokenUsage) -> common.Usage:
    return common.Usage(
        input_tokens=usage.input,
        cached_input_tokens=usage.cached_input,
        cache_write_input_tokens=usage.cache_write_input,
        output_tokens=usage.output,
        reasoning_tokens=usage.reasoning,
        estimated=usage.estimated,
    )


def _timings(outcome: Outcome) -> pb.Timings:
    return pb.Timings(
        started_at=_timestamp(outcome.started_at),
        ttft_s=outcome.ttft_s,
        tpot_s=outcome.tpot_s,
        e2e_s=outcome.e2e_s,
        routing_s=outcome.routing_s,
        upstream_queue_s=outcome.upstream_queue_s,
        upstream_prefill_s=outcome.upstream_prefill_s,
    )


def _timestamp(unix_s: float) -> Timestamp | None:
    if not unix_s:
        return None
    seconds = int(unix_s)
    return Timestamp(seconds=seconds, nanos=int((unix_s - seconds) * 1e9))
