"""Google's `streamGenerateContent`, as the Gemini API and Vertex AI serve it."""

from backends.gemini.build import build
from backends.gemini.dialects import DIALECTS
from backends.wire import Option, Wire

WIRE = Wire(
    name="gemini",
    dialects=DIALECTS,
    build=build,
    options={
        "api_version": Option(
            help="the version in the path, v1 or v1beta; the newest parameters are in v1beta first",
            pattern=r"v\d+(?:alpha|beta)?\d*",
        ),
        "project": Option(help="the Google Cloud project that Vertex AI bills", pattern=r"[a-z0-9][a-z0-9.:-]*"),
        "location": Option(help="the region of Vertex AI, or global", pattern=r"[a-z0-9-]+"),
        "schemas": Option(
            help="json for JSON Schema, or openapi for models that only take Google's older Schema",
            pattern=r"json|openapi",
        ),
    },
)
