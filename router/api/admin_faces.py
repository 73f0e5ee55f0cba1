"""The services of the admin port: for each servicer, the name of its service and what registers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc.aio

from router.api.grpc_server import Face
from router.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    config_pb2,
    config_pb2_grpc,
    fleet_pb2,
    fleet_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
    usage_pb2,
    usage_pb2_grpc,
)

_Add = Callable[[Any, grpc.aio.Server], None]
_SERVICES: tuple[tuple[type, Any, str, _Add], ...] = (
    (
        admin_pb2_grpc.AdminServiceServicer,
        admin_pb2,
        "AdminService",
        admin_pb2_grpc.add_AdminServiceServicer_to_server,
    ),
    (
        config_pb2_grpc.ConfigServiceServicer,
        config_pb2,
        "ConfigService",
        config_pb2_grpc.add_ConfigServiceServicer_to_server,
    ),
    (
        tenants_pb2_grpc.TenantServiceServicer,
        tenants_pb2,
        "TenantService",
        tenants_pb2_grpc.add_TenantServiceServicer_to_server,
    ),
    (
        usage_pb2_grpc.UsageServiceServicer,
        usage_pb2,
        "UsageService",
        usage_pb2_grpc.add_UsageServiceServicer_to_server,
    ),
    (
        fleet_pb2_grpc.FleetServiceServicer,
        fleet_pb2,
        "FleetService",
        fleet_pb2_grpc.add_FleetServiceServicer_to_server,
    ),
)


def face(servicer: object) -> Face:
    """What the server needs to offer this servicer."""
    for base, module, name, add in _SERVICES:
        if isinstance(servicer, base):
            full_name: str = module.DESCRIPTOR.services_by_name[name].full_name
            return Face(full_name, lambda server, add=add: add(servicer, server))  # type: ignore[misc]
    raise TypeError(f"{type(servicer).__name__} is no service of the admin port")
