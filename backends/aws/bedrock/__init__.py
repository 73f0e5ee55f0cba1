"""Bedrock's Converse: one wire before the models of many vendors."""

from backends.aws.bedrock.dialects import DIALECTS
from backends.aws.bedrock.models import FAMILIES
from backends.aws.region import OPTION as REGION
from backends.contract import Backend
from backends.spec import BackendSpec
from backends.wire import Option, Resources, Wire


def _build(spec: BackendSpec, resources: Resources) -> Backend:
    from backends.aws.bedrock.codec import build  # noqa: PLC0415 - botocore is loaded where it is used only

    return build(spec, resources)


WIRE = Wire(
    name="bedrock",
    dialects=DIALECTS,
    build=_build,
    options={
        "region": REGION,
        "service_tier": Option(
            help="priority, default, flex or reserved; the account's own if unset",
            pattern="priority|default|flex|reserved",
        ),
        "performance": Option(help="latency: standard or optimized", pattern="standard|optimized"),
        "guardrail": Option(
            help="a guardrail as ID:VERSION, VERSION a number or DRAFT", pattern=r"[\w:/.-]+:(?:[1-9]\d{0,7}|DRAFT)"
        ),
        "model_family": Option(
            help="whose model it is, where its id (of an inference profile) does not say: "
            + ", ".join(sorted(FAMILIES)),
            pattern="|".join(FAMILIES),
        ),
    },
    extra="aws",
)
