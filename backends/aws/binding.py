"""Binds a codec of an AWS service to one address: who signs, who probes, in which region."""

from __future__ import annotations

from backends.authorise import Authoriser, KeyAuthoriser, LiveSecret
from backends.aws.backend import SignedBackend
from backends.aws.credentials import InvalidKeys, Keys, MachineKeys, ReferencedKeys, are_keys, on_this_machine
from backends.aws.region import region_of
from backends.aws.sigv4 import SigV4Authoriser
from backends.contract import Backend
from backends.http.exchange import Codec, HttpBackend
from backends.probing.prober import HttpProber
from backends.spec import BackendSpec
from backends.wire import Resources


def bind(
    spec: BackendSpec, resources: Resources, codec: Codec, *, service: str, api_key_variable: str | None = None
) -> Backend:
    """The backend.

    Args:
        spec: of it.
        resources: what adapters share.
        codec: the service's words.
        service: the name that it is signed under.
        api_key_variable: where SDKs look for an API key of the service; None where it takes no such keys.

    Raises:
        ValueError: no region, or a credential of a form that the service does not take.
        backends.auth.MissingCredential, backends.auth.InvalidReference: of the credential.
    """
    env = resources.env
    credential = spec.credential
    if credential is None and api_key_variable is not None and env.get(api_key_variable):
        credential = f"env:{api_key_variable}"
    if credential is None:
        keys: Keys = MachineKeys(on_this_machine(env))
    else:
        live = LiveSecret(credential, env)
        secret = live.current().value
        if not are_keys(secret):
            if api_key_variable is None or ":" in secret:
                raise InvalidKeys
            return _http(spec, resources, codec, KeyAuthoriser(credential, env, codec.dialect.key))
        keys = ReferencedKeys(live)
    signer = SigV4Authoriser(keys, service=service, region=region_of(spec, env))
    return SignedBackend(_http(spec, resources, codec, signer), signer)


def _http(spec: BackendSpec, resources: Resources, codec: Codec, authoriser: Authoriser) -> HttpBackend:
    prober = HttpProber(spec, codec.dialect, resources.control, authoriser=authoriser)
    return HttpBackend(spec, codec, transport=resources.transport, authoriser=authoriser, prober=prober)
