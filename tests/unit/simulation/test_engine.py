"""The engine in virtual time."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.hardware import Hardware, Model
from router.domain.speed import Speed
from router.prediction.physics import speed
from simulation.engine import Engine, EngineSpec, ModelOnChip, Sequence

H100 = Hardware(
    id="h100", name="H100", kind="gpu", memory_bytes=80e9, memory_bandwidth_bytes_per_s=3350e9, flops_per_s=989e12
)
LLAMA_8B = Model(id="m", parameters=8.03e9, layers=32, kv_bytes_per_token=131072, context_tokens=131072)
PRIOR = speed(LLAMA_8B, H100, count=1, bytes_per_weight=2)


def engine(
    *,
    slots: int = 8,
    latency_s: float = 0.0,
    kv_bytes: float | None = None,
    noise: float = 0.0,
    model_speed: Speed = PRIOR,
    kv: float = 131072,
) -> Engine:
    on_chip = ModelOnChip(speed=model_speed, kv_bytes_per_token=kv)
    return Engine(
        EngineSpec(
            models={"m": on_chip},
            slots=slots,
            latency_s=latency_s,
            kv_bytes=kv_bytes,
            prefill_noise=noise,
            decode_noise=noise,
        ),
        Random(7),
    )


def request(prompt: int = 500, output: int = 20) -> Sequence:
    return Sequence(model="m", prompt_tokens=prompt, output_tokens=output)


def run(subject: Engine, until: float = math.inf) -> None:
    while (due := subject.next_due()) is not None and due <= until:
        subject.advance(max(due, 0.0))


def ttft(sequence: Sequence) -> float:
    assert sequence.first_token_at is not None
    return sequence.first_token_at - sequence.submitted_at


def tpot(sequence: Sequence) -> float:
    assert sequence.first_token_at is not None
    assert sequence.finished_at is not None
    return (sequence.finished_at - sequence.first_token_at) / (sequence.output_tokens - 1)


def test_one_request_takes_what_the_equations_say() -> None:
    """Alone on the chip, TTFT is latency plus prefill, and each further token one step of a batch of one."""
    subject, alone = engine(latency_s=0.03), request()
    subject.submit(alone, 10.0)
    run(subject)
    assert ttft(alone) == pytest.approx(0.03 + PRIOR.prefill_s(500))
    assert tpot(alone) == pytest.approx(PRIOR.tpot_s(1, 510), rel=0.01)
    assert alone.generated == 20
    assert subject.running == 0


def test_a_batch_slows_everyone_down() -> None:
    """Sixty-four sequences at once decode at the pace of a batch of sixty-four."""
    subject = engine(slots=64)
    batch = [request(output=200) for _ in range(64)]
    for sequence in batch:
        subject.submit(sequence, 0.0)
    run(subject)
    # Prompts are prefilled in several passes, so the first to start have a few faster steps.
    assert tpot(batch[-1]) == pytest.approx(PRIOR.tpot_s(64, 600), rel=0.1)
    assert tpot(batch[-1]) > 1.5 * PRIOR.tpot_s(1, 600)


def test_whoever_finds_no_slot_waits_in_order() -> None:
    """With one slot, requests are served one after the other as they came."""
    subject = engine(slots=1)
    queue = [request(), request(), request()]
    for sequence in queue:
        subject.submit(sequence, 0.0)
    subject.advance(0.001)
    assert (subject.running, subject.waiting) == (1, 2)
    assert subject.load("m") == (1, 2)
    run(subject)
    one = PRIOR.prefill_s(500) + 19 * tpot(queue[0])
    assert ttft(queue[2]) == pytest.approx(2 * one + PRIOR.prefill_s(500), rel=0.01)


def test_cancelling_frees_the_slot_at_once() -> None:
    """The next in the queue is admitted at the moment at which a running request is cancelled."""
    subject, first, second = engine(slots=1), request(output=10_000), request()
    subject.submit(first, 0.0)
    subject.submit(second, 0.0)
    subject.advance(0.5)
    subject.cancel(first, 0.5)
    assert second.admitted_at == pytest.approx(0.5)
    run(subject)
    assert second.finished
    assert not first.finished


def test_a_full_cache_makes_the_queue_wait() -> None:
    """A request is admitted only when its prompt and answer fit into the KV memory beside the others."""
    subject = engine(kv_bytes=1500.0, kv=1.0)
    first, second = request(prompt=900, output=100), request(prompt=900, output=100)
    subject.submit(first, 0.0)
    subject.submit(second, 0.0)
    subject.advance(0.1)
    assert (subject.running, subject.waiting) == (1, 1)
    assert 0.6 < subject.kv_usage < 0.7
    run(subject)
    assert second.admitted_at == pytest.approx(first.finished_at)


def test_a_fast_chip_hands_out_many_tokens_at_once() -> None:
    """At 2,000 tokens/s, catching up after 10 ms hands out about twenty tokens in one go."""
    fast = Speed(
        fixed_s=0.0005,
        weights_s=0.0,
        sequence_s=0.0,
        context_s=0.0,
        expert_share=0.0,
        expert_miss=0.0,
        prefill_base_s=0.0,
        prefill_token_s=0.0,
    )
    subject, stream = engine(model_speed=fast), request(output=1000)
    subject.submit(stream, 0.0)
    subject.advance(0.0)
    assert stream.generated == 1
    assert subject.advance(0.010) == [stream]
    assert stream.generated == 21


def test_slow_hardware_and_a_stall_are_faults_that_can_be_switched() -> None:
    """Three times slower is three times slower, and a stall shifts everything by its length."""
    subject, sequence = engine(), request()
    subject.slow = 3.0
    subject.submit(sequence, 0.0)
    subject.advance(0.001)
    subject.stall(True, 0.001)
    assert subject.next_due() is None
    assert subject.advance(100.0) == []
    subject.stall(False, 100.001)
    run(subject)
    assert ttft(sequence) == pytest.approx(100.0 + 3 * PRIOR.prefill_s(500))


@given(
    st.lists(st.tuples(st.floats(0, 2), st.integers(1, 3000), st.integers(1, 60), st.booleans()), max_size=20),
    st.lists(st.floats(0.001, 0.3), min_size=1, max_size=10),
)
def test_the_course_does_not_depend_on_how_often_it_is_asked(
    arrivals: list[tuple[float, int, int, bool]], pauses: list[float]
) -> None:
    """Polled at any moments, every request gets the same times, all its tokens, and never more slots than there are."""

    def play(polls: list[float]) -> list[tuple[float | None, float | None, int, bool]]:
        subject = engine(slots=3, noise=0.2)
        made = []
        for at, prompt, output, cancelled in sorted(arrivals):
            sequence = request(prompt, output)
            made.append((at, sequence, cancelled))
        events = [(at, 0, sequence) for at, sequence, _ in made]
        events += [(at + 0.1, 1, sequence) for at, sequence, cancelled in made if cancelled]
        moments = sorted([(at, kind, index) for index, (at, kind, _) in enumerate(events)])
        polled = 0.0
        for at, kind, index in moments:
            while polls and polled < at:
                subject.advance(polled)
                polled += polls[int(polled * 1000) % len(polls)]
            if kind == 0:
                subject.submit(events[index][2], at)
            else:
                subject.cancel(events[index][2], at)
            assert subject.running <= 3
        subject.advance(1e6)
        assert subject.running == subject.waiting == 0
        assert subject.next_due() is None
        for _, sequence, _ in made:
            assert sequence.cancelled or sequence.generated == sequence.output_tokens
        return [(s.first_token_at, s.finished_at, s.generated, s.cancelled) for _, s, _ in made]

    assert play(pauses) == play([])
