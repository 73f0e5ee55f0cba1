"""What this process offers: the HTTP face, the gRPC services and the admin port, each joined to what answers for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from router.api.admin_faces import face
from router.api.admin_service import AdminService
from router.api.authenticate import Authenticator
from router.api.config_service import ConfigService
from router.api.fleet_service import FleetService
from router.api.grpc_server import GrpcServers
from router.api.http_server import HttpServer, bind
from router.api.inference_service import InferenceService
from router.api.openai_http import OpenAiHttp
from router.api.tenant_service import TenantService
from router.api.usage_service import UsageService
from router.api.wire.admin import FleetRules
from router.app.core import Core
from router.app.shared import Shared
from router.app.watching import Watching
from router.clock import Clock
from router.domain.wires import Wires
from router.settings import Settings
from router.settings.change import ChangeRules
from router.state.runtime import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """The servers, not yet started; `admin` ends its watches when it is told to stop."""

    grpc: GrpcServers
    http: HttpServer
    admin: AdminService


def build_faces(
    settings: Settings,
    core: Core,
    state: State,
    shared: Shared,
    *,
    wires: Wires,
    clock: Clock,
    env: Mapping[str, str],
) -> Faces:
    """Every face over the same director.

    Raises:
        OSError: the HTTP port is taken.
    """
    router, view, director = settings.router, state.view, core.director
    watching = Watching(core, shared, view, clock)
    authenticator = Authenticator(lambda: view.snapshot.tenants, clock=clock, require_api_key=router.require_api_key)
    inference = InferenceService(director, clock, authenticator)
    admin = AdminService(
        state.store,
        view,
        live=director,
        rules=FleetRules(catalogue=settings.catalogue, wires=wires),
        clock=clock,
        feed_max_age_s={feed.name: feed.max_age_s for feed in settings.feeds},
    )
    services = (
        admin,
        ConfigService(
            state.store,
            view,
            rules=ChangeRules(catalogue=settings.catalogue, env=env, wires=wires),
            replicas=shared.peers,
            effects=core.effects,
            clock=clock,
        ),
        TenantService(
            state.store,
            view,
            use=core.tenants,
            catalogue=settings.catalogue,
            policies=lambda: core.fleet.policies,
            clock=clock,
        ),
        UsageService(shared.usage_store, clock, connected=lambda: view.connected),
        FleetService(
            replica=router.replica_id,
            overview=core.overview,
            recent=core.recent,
            replicas=shared.peers,
            view=view,
            feeds=shared.feeds.reports,
            in_flight=lambda: director.in_flight,
            notices=watching.notices,
            clock=clock,
        ),
    )
    return Faces(
        # Bound now: a port that is taken is known before anything answers.
        http=HttpServer(
            OpenAiHttp(
                director,
                clock=clock,
                readiness=watching.readiness,
                metrics=watching.metrics,
                authenticator=authenticator,
                max_body_bytes=router.max_message_bytes,
            ),
            bind(router.host, router.http_port, pick_free_port=router.pick_free_ports),
        ),
        grpc=GrpcServers(
            inference=inference,
            admin=tuple(face(service) for service in services),
            ready=lambda: director.ready,
            host=router.host,
            grpc_port=router.grpc_port,
            admin_port=router.admin_port,
            pick_free_ports=router.pick_free_ports,
            max_message_bytes=router.max_message_bytes,
            cut_off=inference.cut_off,
        ),
        admin=admin,
    )
