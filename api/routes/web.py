"""The page that people talk to, as it was built (`web/`)."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, get
from litestar.params import PathParameter

from api.auth import PUBLIC
from api.deps import ConversationId, Web
from api.request import JsonRequest
from api.web_files import WebFile
from shared.errors import NotFound

# Scripts and styles of our own and nothing inline; no string becomes HTML or a script.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
ALWAYS_ASK = "no-cache"
FOR_EVER = "public, max-age=31536000, immutable"
"""The build puts a digest of the content into the names below `assets/`."""

Name = Annotated[str, PathParameter(description="A file of the build.")]


def page(request: JsonRequest, file: WebFile) -> Response[bytes]:
    headers = {"Content-Security-Policy": POLICY}
    return answer(request, file, ALWAYS_ASK, headers)


def answer(
    request: JsonRequest, file: WebFile, caching: str, more: dict[str, str] | None = None
) -> Response[bytes]:
    # Weak, for packed or not it is the same file.
    headers = {"Cache-Control": caching, "ETag": f"W/{file.etag}", "Vary": "Accept-Encoding"}
    headers |= more or {}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers, media_type=file.media_type)
    body = file.content
    if takes_gzip(request.headers.get("accept-encoding", "")):
        body, headers["Content-Encoding"] = file.packed, "gzip"
    return Response(body, headers=headers, media_type=file.media_type)


def takes_gzip(accepted: str) -> bool:
    """Not where it is named with a weight of nothing."""
    for item in accepted.replace(" ", "").lower().split(","):
        coding, _, weight = item.partition(";q=")
        if coding == "gzip":
            return not weight or bool(weight.strip("0."))
    return False


@get("/")
async def show(request: JsonRequest, web_files: Web) -> Response[bytes]:
    return page(request, web_files.index)


@get("/c/{conversation_id:uuid}")
async def show_conversation(
    request: JsonRequest,
    web_files: Web,
    conversation_id: ConversationId,  # noqa: ARG001 - the page reads it from its address
) -> Response[bytes]:
    return page(request, web_files.index)


@get("/assets/{name:str}")
async def asset(request: JsonRequest, web_files: Web, name: Name) -> Response[bytes]:
    found = web_files.find(f"assets/{name}")
    if found is None:
        raise NotFound
    return answer(request, found, FOR_EVER)


@get("/favicon.svg")
async def icon(request: JsonRequest, web_files: Web) -> Response[bytes]:
    found = web_files.find("favicon.svg")
    if found is None:
        raise NotFound
    return answer(request, found, ALWAYS_ASK)


router = Router(
    "/",
    route_handlers=[show, show_conversation, asset, icon],
    opt={PUBLIC: True},
    include_in_schema=False,
)
