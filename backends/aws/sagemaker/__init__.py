"""SageMaker's InvokeEndpointWithResponseStream: a container's own OpenAI-like wire inside an event stream of AWS."""

from backends.aws.region import OPTION as REGION
from backends.aws.sagemaker.dialects import DIALECTS
from backends.contract import Backend
from backends.openai.options import OPTIONS as CONTAINER_OPTIONS
from backends.spec import BackendSpec
from backends.wire import Option, Resources, Wire


def _build(spec: BackendSpec, resources: Resources) -> Backend:
    from backends.aws.sagemaker.codec import build  # noqa: PLC0415 - botocore is loaded where it is used only

    return build(spec, resources)


_NAME = r"[a-zA-Z0-9](?:-*[a-zA-Z0-9]){0,62}"

WIRE = Wire(
    name="sagemaker",
    dialects=DIALECTS,
    build=_build,
    options={
        "region": REGION,
        "endpoint": Option(
            help="name of the endpoint; if unset, the upstream model is it, and the container is not told a model",
            pattern=_NAME,
        ),
        "inference_component": Option(help="the inference component on the endpoint", pattern=_NAME),
        "target_variant": Option(help="the production variant of the endpoint", pattern=_NAME),
        **{name: CONTAINER_OPTIONS[name] for name in ("usage", "without", "reasoning_back", "extra_body")},
    },
    extra="aws",
)
