"""`models`: what can be asked for."""

from __future__ import annotations

import click

from router.cli.rpc import ADMIN_TIMEOUT_S, address_option, connected, inference_stub, json_option
from router.cli.show import print_message, print_table
from router.v1 import inference_pb2 as pb


@click.command()
@address_option
@json_option
def models(*, address: str, as_json: bool) -> None:
    """Lists models, aliases and classes, and the backends that serve them."""
    with connected(address, as_json=as_json) as channel:
        response = inference_stub(channel).ListModels(pb.ListModelsRequest(), timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
        return
    print_table(
        "Models",
        ["name", "kind", "stands for", "context", "backends"],
        [(m.id, m.kind, ", ".join(m.members), m.context_tokens or "-", ", ".join(m.backends)) for m in response.models],
        right="context",
    )
