"""The Triton adapter against the emulated server that NVIDIA's own client has judged."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import msgspec
import pytest

from backends.contract import (
    Backend,
    Chunk,
    FinishReason,
    GenerateRequest,
    ImagePart,
    Message,
    ResponseFormat,
    Sampling,
    Tool,
)
from backends.errors import (
    AuthFailed,
    BackendError,
    BadRequest,
    ConnectFailed,
    ContextTooLong,
    ModelNotServed,
    Overloaded,
    ProtocolViolation,
    StreamBroken,
    Unsupported,
    UpstreamFault,
    Warming,
)
from simulation.wires.faults import Faults
from simulation.wires.triton import TritonServer
from simulation.wires.triton_models import bls, ensemble, llm_api, old_ensemble, vllm
from tests.contract.emulated import SECRET, Adapters, adapters, ask, ask_until_broken, text
from tests.contract.loopback import LoopbackServer, Reply

USER = Message(role="user", content="What is the weather in Paris?")
SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"a":{"const":1}},"required":["a"]}')
WANTED = ResponseFormat(kind="json_schema", name="n", schema=SCHEMA)
TENSORRTLLM = ["ensemble", "tensorrt_llm_bls", "accumulating", "old", "tensorrt_llm"]
METRICS = """\
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 2
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.25
"""


class Stage:
    """A server, and adapters that are bound to it."""

    def __init__(self, server: TritonServer, made: Adapters) -> None:
        self.server = server
        self._made = made

    def backend(self, profile: str = "tensorrtllm", **options: str) -> Backend:
        return self._bind(profile, options, credential=False)

    def with_token(self) -> Backend:
        return self._bind("tensorrtllm", {}, credential=True)

    def _bind(self, profile: str, options: dict[str, str], *, credential: bool) -> Backend:
        url = f"grpc://127.0.0.1:{self.server.port}"
        given = {"chat_template": "chatml", **options}
        return self._made.bind("triton", url, profile=profile, credential=credential, options=given)

    def of(self, model: str) -> Backend:
        return self.backend("vllm" if model == "vllm_model" else "tensorrtllm")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    whole = bls("whole", is_decoupled=False)
    models = [ensemble(), bls(), bls("accumulating", accumulates=True), whole, old_ensemble(), llm_api(), vllm()]
    server = TritonServer(models)
    await server.start("127.0.0.1", 0)
    async with adapters() as made:
        yield Stage(server, made)
    await server.close()


def a_request(model: str = "ensemble", *messages: Message, **fields: object) -> GenerateRequest:
    return msgspec.structs.replace(GenerateRequest(model=model, messages=messages or (USER,)), **fields)


def limited(tokens: int, **more: object) -> Sampling:
    return msgspec.structs.replace(Sampling(max_output_tokens=tokens), **more)


def events(chunks: list[Chunk]) -> int:
    return sum(chunk.events for chunk in chunks)


async def _read_on(stream: AsyncIterator[Chunk]) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("model", [*TENSORRTLLM, "whole", "vllm_model"])
async def test_every_kind_of_model_answers_with_the_same_words(stage: Stage, model: str) -> None:
    """Whatever its tensors are called, and whether it answers in pieces, in one, by repetition, or after the prompt."""
    chunks = await ask(stage.of(model), a_request(model, sampling=limited(20)))
    assert text(chunks).startswith(f"Emulated answer of Triton, model {model}: no")
    assert len(text(chunks)) == 80
    assert events(chunks) == (1 if model == "whole" else 20)


@pytest.mark.parametrize("model", [*TENSORRTLLM, "vllm_model"])
async def test_the_limit_of_tokens_is_a_finish_reason(stage: Stage, model: str) -> None:
    """Said by the server, or known from as many pieces as tokens were allowed."""
    cut = await ask(stage.of(model), a_request(model, sampling=limited(20)))
    assert cut[-1].finish_reason is FinishReason.LENGTH
    ended = await ask(stage.of(model), a_request(model, sampling=limited(2000)))
    assert ended[-1].finish_reason is FinishReason.STOP


@pytest.mark.parametrize("model", [*TENSORRTLLM, "whole", "vllm_model"])
async def test_a_stop_sequence_ends_the_answer_before_it(stage: Stage, model: str) -> None:
    """Also where the server leaves it on the text, and where it has a comma in it."""
    sampling = limited(200, stop=("nothing, never", ": no model"))
    chunks = await ask(stage.of(model), a_request(model, sampling=sampling))
    assert text(chunks) == f"Emulated answer of Triton, model {model}"
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert chunks[-1].stop_sequence == (None if model == "vllm_model" else ": no model")


async def test_usage_is_counted_or_estimated_and_says_which(stage: Stage) -> None:
    """The vllm backend counts; the others do not."""
    counted = (await ask(stage.of("vllm_model"), a_request("vllm_model", sampling=limited(20))))[-1].usage
    assert counted is not None
    assert (counted.estimated, counted.output, counted.input > 8) == (False, 20, True)
    estimated = (await ask(stage.of("ensemble"), a_request(sampling=limited(20))))[-1].usage
    assert estimated is not None
    assert (estimated.estimated, estimated.output) == (True, 20)


async def test_a_conversation_is_rendered_by_the_chat_template(stage: Stage) -> None:
    """A trailing assistant message is continued, and a plain prompt goes as it is."""
    turns = (Message(role="system", content="Be brief."), USER, Message(role="assistant", content="It is"))
    await ask(stage.backend(), a_request("ensemble", *turns, sampling=limited(3)))
    (prompt,) = stage.server.seen[-1]["values"]["text_input"]
    assert prompt.startswith(b"<|im_start|>system\nBe brief.<|im_end|>\n")
    assert prompt.endswith(b"<|im_start|>assistant\nIt is")
    await ask(stage.backend(), GenerateRequest(model="ensemble", prompt="Once upon", sampling=limited(3)))
    assert stage.server.seen[-1]["values"]["text_input"] == [b"Once upon"]


@pytest.mark.parametrize(
    ("model", "sampled", "limit"),
    [
        ("ensemble", {"temperature": "FP32", "top_k": "INT32", "random_seed": "UINT64"}, ("max_tokens", "INT32")),
        ("old", {"temperature": "FP32", "runtime_top_k": "UINT32", "random_seed": "UINT64"}, ("INPUT_1", "UINT32")),
    ],
)
async def test_parameters_go_in_the_types_that_the_model_names(
    stage: Stage, model: str, sampled: dict[str, str], limit: tuple[str, str]
) -> None:
    """The same request, in the tensors of two generations."""
    sampling = limited(7, temperature=0.5, top_k=4, seed=2**64 - 1)
    await ask(stage.of(model), a_request(model, sampling=sampling))
    seen = stage.server.seen[-1]
    types = {name: datatype for name, (datatype, _) in seen["inputs"].items()}
    assert sampled.items() <= types.items()
    assert (types[limit[0]], seen["values"][limit[0]]) == (limit[1], [7])
    assert seen["values"]["random_seed"] == [2**64 - 1]
    assert seen["inputs"][limit[0]][1] == [1, 1]


async def test_parameters_of_the_vllm_backend_are_json(stage: Stage) -> None:
    """In one string, and without what nobody asked for."""
    sampling = limited(7, temperature=0.0, min_p=0.1, stop=("x",))
    await ask(stage.of("vllm_model"), a_request("vllm_model", sampling=sampling))
    values = stage.server.seen[-1]["values"]
    assert msgspec.json.decode(values["sampling_parameters"][0]) == {
        "max_tokens": 7,
        "temperature": 0.0,
        "min_p": 0.1,
        "stop": ["x"],
    }


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("ensemble", {}),
        ("vllm_model", {}),
        ("vllm_model", {"schema_field": "guided_decoding"}),
    ],
)
async def test_structured_output_keeps_to_its_schema(stage: Stage, model: str, options: dict[str, str]) -> None:
    """Through the tensors for it, or in the parameters of the vllm backend, old or new."""
    backend = stage.backend("vllm" if model == "vllm_model" else "tensorrtllm", **options)
    assert text(await ask(backend, a_request(model, response_format=WANTED))) == '{"a": 1}'
    free = await ask(backend, a_request(model, response_format=ResponseFormat(kind="json_object")))
    assert msgspec.json.decode(text(free)) == {"emulated": True, "answer": "no model has run"}


async def test_what_a_model_has_no_tensor_for_is_refused(stage: Stage) -> None:
    """Never dropped; another backend may take it. What is switched off asks for nothing."""
    with pytest.raises(Unsupported, match="model old has no input for it") as caught:
        await ask(stage.of("old"), a_request("old", response_format=WANTED))
    assert caught.value.retryable
    with pytest.raises(Unsupported, match="model old has no input for it"):
        await ask(stage.of("old"), a_request("old", sampling=limited(3, frequency_penalty=0.5)))
    with pytest.raises(Unsupported, match="min_p"):
        await ask(stage.of("ensemble"), a_request(sampling=limited(3, min_p=0.5)))
    with pytest.raises(Unsupported, match="tools"):
        await ask(stage.of("ensemble"), a_request(tools=(Tool(name="t", parameters=SCHEMA),)))
    picture = Message(role="user", content=(ImagePart(url="data:image/png;base64,AA=="),))
    with pytest.raises(Unsupported, match="images"):
        await ask(stage.of("ensemble"), a_request("ensemble", picture))
    assert text(await ask(stage.of("ensemble"), a_request(sampling=limited(3, min_p=0.0))))


async def test_log_probabilities_come_where_they_are_asked_for(stage: Stage) -> None:
    """One for each token, with the likeliest others."""
    sampling = limited(5, logprobs=True, top_logprobs=2)
    chunks = await ask(stage.of("vllm_model"), a_request("vllm_model", sampling=sampling))
    found = [entry for chunk in chunks for entry in chunk.logprobs]
    assert "".join(entry.token for entry in found) == text(chunks)
    assert [len(entry.top) for entry in found] == [2] * 5


async def test_a_server_that_keeps_its_configuration_is_read_by_its_metadata(stage: Stage) -> None:
    """Names and types are in both."""
    stage.server.tells_config = False
    for model in ("ensemble", "old", "vllm_model"):
        chunks = await ask(stage.of(model), a_request(model, sampling=limited(20)))
        assert len(text(chunks)) == 80


@pytest.mark.parametrize("model", ["ensemble", "vllm_model"])
async def test_an_unknown_model_and_a_prompt_that_is_too_long_have_their_kinds(stage: Stage, model: str) -> None:
    """The first is a reason to go elsewhere; the second is the request's."""
    with pytest.raises(ModelNotServed, match="unknown model: 'none'"):
        await ask(stage.of(model), a_request("none"))
    with pytest.raises(ContextTooLong):
        await ask(stage.of(model), a_request(model, Message(role="user", content="x" * 40_000)))


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, "an input that is wrong", BadRequest),
        (401, "", AuthFailed),
        (404, "Request for unknown model: 'ensemble' is not found", ModelNotServed),
        (429, "", Overloaded),
        (500, "", UpstreamFault),
        (503, "", ConnectFailed),
        (503, "Exceeds maximum queue size", Overloaded),
        (503, "model 'ensemble' is not ready", Warming),
    ],
)
@pytest.mark.parametrize("knows_status", [True, False])
async def test_refusals_have_their_kind(
    stage: Stage, status: int, words: str, kind: type[BackendError], *, knows_status: bool
) -> None:
    """By status and words; older servers say words alone, and what they do not tell is a fault of theirs."""
    stage.server.knows_status = knows_status
    stage.server.faults = Faults(status=status, code=words)
    is_told_by_words = words and status != 400
    with pytest.raises(kind if knows_status or is_told_by_words else BackendError) as caught:
        await ask(stage.backend(), a_request())
    assert caught.value.status is None


async def test_a_pushback_says_when_to_come_again(stage: Stage) -> None:
    """As gRPC has it, in a trailer."""
    stage.server.faults = Faults(status=429, headers={"grpc-retry-pushback-ms": "1500"})
    with pytest.raises(Overloaded) as caught:
        await ask(stage.backend(), a_request())
    assert caught.value.retry_after_s == 1.5


@pytest.mark.parametrize("knows_status", [True, False])
@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(cut_after=3), "broke while it answered"),
        (Faults(malformed_after=3), "not of this wire"),
        (Faults(error_after=3), "an error that was asked for"),
    ],
)
async def test_a_stream_that_goes_wrong_is_broken(
    stage: Stage, faults: Faults, words: str, *, knows_status: bool
) -> None:
    """What was sent before was delivered; then the failure says what it was."""
    stage.server.knows_status = knows_status
    stage.server.faults = faults
    chunks, error = await ask_until_broken(stage.backend(), a_request())
    assert events(chunks) == 3
    assert isinstance(error, StreamBroken)
    assert re.search(words, error.message)


async def test_a_connection_that_is_lost_breaks_the_answer(stage: Stage) -> None:
    """The server itself goes away, in the middle of it."""
    stage.server.faults = Faults(stall_after=2)
    stream = stage.backend().generate(a_request(), upstream_model="ensemble", request_id="r")
    await anext(stream)
    with pytest.raises(StreamBroken):
        async with asyncio.timeout(5):
            await asyncio.gather(stage.server.close(), _read_on(stream))


async def test_a_server_that_is_not_there_is_told(stage: Stage) -> None:
    """Before anything was sent: another backend may be asked."""
    await stage.server.close()
    with pytest.raises(ConnectFailed) as caught:
        await ask(stage.backend(), a_request())
    assert caught.value.retryable


async def test_a_model_is_described_again_when_it_may_have_changed(stage: Stage) -> None:
    """A model of the same name with other tensors is refused once, and then asked by its own."""
    backend = stage.backend()
    await ask(backend, a_request(sampling=limited(3)))
    stage.server.models["ensemble"] = old_ensemble("ensemble")
    with pytest.raises(BadRequest):
        await ask(backend, a_request(sampling=limited(3)))
    assert text(await ask(backend, a_request(sampling=limited(3))))


async def test_what_is_not_of_the_wire_is_told_before_the_first_token_too(stage: Stage) -> None:
    """As a violation of the protocol, which may be tried elsewhere."""
    stage.server.faults = Faults(malformed_after=0)
    with pytest.raises(ProtocolViolation):
        await ask(stage.backend(), a_request())


async def test_a_caller_that_leaves_frees_the_server(stage: Stage) -> None:
    """Closing the answer cancels the call."""
    stage.server.faults = Faults(stall_after=1)
    stream = stage.backend().generate(a_request(), upstream_model="ensemble", request_id="r")
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(2):
        await stage.server.disconnected()
    assert stage.server.disconnects == 1


async def test_a_stalled_server_can_be_cancelled(stage: Stage) -> None:
    """Also before the first token."""
    stage.server.faults = Faults(stall_after=0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await ask(stage.backend(), a_request())
    async with asyncio.timeout(2):
        await stage.server.disconnected()


async def test_an_answer_that_is_complete_is_no_disconnect(stage: Stage) -> None:
    """The server is left only after its status, or where a stop sequence made the rest worthless."""
    for model in ("ensemble", "vllm_model"):
        await ask(stage.of(model), a_request(model, sampling=limited(5)))
    assert stage.server.disconnects == 0


async def test_a_closing_backend_lets_its_answers_end(stage: Stage) -> None:
    """And takes no longer than they do."""
    backend = stage.backend()
    stream = backend.generate(a_request(sampling=limited(50)), upstream_model="ensemble", request_id="r")
    chunks = [await anext(stream)]
    closing = asyncio.create_task(backend.aclose())
    chunks += [chunk async for chunk in stream]
    async with asyncio.timeout(5):
        await closing
    assert len(text(chunks)) == 200


async def test_a_probe_tells_which_models_are_ready(stage: Stage) -> None:
    """By questions that generate nothing."""
    report = await stage.backend().probe(timeout_s=2.0)
    assert (report.healthy, report.models) == (True, tuple(stage.server.models))
    assert (report.running, report.waiting, report.kv_cache_usage) == (None, None, None)
    assert not stage.server.seen


async def test_a_probe_sees_a_server_that_is_not_alive(stage: Stage) -> None:
    """Said by the server, or by its silence."""
    backend = stage.backend()
    stage.server.live = False
    assert not (await backend.probe(timeout_s=2.0)).healthy
    await stage.server.close()
    report = await backend.probe(timeout_s=2.0)
    assert not report.healthy
    assert re.match("CONNECT_FAILED|TIMED_OUT", report.reason)


async def test_without_an_index_the_models_that_were_asked_are_looked_at(stage: Stage) -> None:
    """One of them at least must be ready."""
    stage.server.tells_index = False
    backend = stage.backend()
    await ask(backend, a_request(sampling=limited(3)))
    report = await backend.probe(timeout_s=2.0)
    assert (report.healthy, report.models) == (True, None)


async def test_a_probe_reads_the_load_where_the_metrics_are(stage: Stage) -> None:
    """On a port of their own; metrics that are switched off leave the server healthy and its load unknown."""
    async with LoopbackServer(lambda _: Reply([METRICS.encode()])) as metrics:
        report = await stage.backend(metrics_url=f"{metrics.url}/metrics").probe(timeout_s=2.0)
        assert (report.healthy, report.running, report.waiting, report.kv_cache_usage) == (True, 3, 2, 0.25)
    async with LoopbackServer(lambda _: Reply([b""], status=404)) as metrics:
        report = await stage.backend(metrics_url=f"{metrics.url}/metrics").probe(timeout_s=2.0)
        assert (report.healthy, report.running) == (True, None)


async def test_a_token_is_metadata_and_stays_secret() -> None:
    """Sent with every call; found in no error and no repr."""
    server = TritonServer([ensemble()], key=SECRET)
    await server.start("127.0.0.1", 0)
    async with adapters() as made:
        stage = Stage(server, made)
        backend = stage.with_token()
        assert text(await ask(backend, a_request(sampling=limited(3))))
        assert server.seen[-1]["metadata"]["authorization"] == f"Bearer {SECRET}"
        assert (await backend.probe(timeout_s=2.0)).healthy
        assert SECRET not in repr(backend)
        server.faults = Faults(status=401, code=f"bad token {SECRET}")
        with pytest.raises(AuthFailed) as caught:
            await ask(backend, a_request())
        assert SECRET not in str(caught.value)
        assert (await stage.backend().probe(timeout_s=2.0)).reason.startswith("AUTH_FAILED")
    await server.close()
