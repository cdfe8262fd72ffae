"""What Prometheus asks for."""

from __future__ import annotations

from litestar import Response, Router, get

from api.auth import PUBLIC
from api.deps import Measured
from api.openapi import described
from api.samples import METRICS
from shared.metrics import CONTENT_TYPE


@get(
    "/metrics",
    summary="What is measured",
    description="In Prometheus' text format: numbers of this process and of the service as a "
    "whole, nobody's in particular. It needs no token: let your proxy keep it from the outside.",
    responses=described({200: ("The metrics.", str, METRICS)}, media_type="text/plain"),
)
async def metrics(measuring: Measured) -> Response[bytes]:
    return Response(await measuring.exposition(), media_type=CONTENT_TYPE)


router = Router("/", route_handlers=[metrics], opt={PUBLIC: True}, security=[{}], tags=["health"])
