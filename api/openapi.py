"""How the routes are described: helpers for their decorators, and the document's frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import msgspec
from litestar import Response, Router
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Components,
    Example,
    License,
    OpenAPI,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Schema,
    SecurityScheme,
    Tag,
)
from litestar.params import Body

from api.auth import PUBLIC, USER_HEADER
from api.cookies import NAME, PLAIN_NAME
from api.errors import INTERNAL, PROBLEM_JSON, problem_of
from api.reference import POLICY, Reference
from api.streamed import event_schemas
from api.wire import Problem
from shared.errors import (
    NotFound,
    OriginRefused,
    RequestError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)

EVENT_STREAM = "text/event-stream"
BEARER = "BearerAuth"
COOKIE = "SessionCookie"
TICKET = "StreamTicket"

Described = Mapping[int, tuple[str, Any, Any]]
Responses = dict[int, ResponseSpec]


TEXT = Schema(type=OpenAPIType.STRING)


def described(answers: Described, *, media_type: str = "application/json") -> Responses:
    """status: (description, type, example), for the answers that are no problems."""
    return {
        status: _Shared(
            data_container=shape,
            generate_examples=False,
            description=description,
            media_type=media_type,
            examples=[_example("example", sample)] if shape is not None else None,
        )
        for status, (description, shape, sample) in answers.items()
    }


def also(
    status: int, media_type: str, sample: object, *, like: int | None = None
) -> type[Operation]:
    """The `operation_class` of a route that answers a status in two forms: the framework describes
    one media type a status. The second is of the same schema as that of the status `like`, or text.
    """

    @dataclass
    class Also(Operation):
        def __post_init__(self) -> None:
            answers = self.responses or {}
            found, other = answers[str(status)], answers[str(like or status)]
            assert isinstance(found, OpenAPIResponse)
            assert isinstance(other, OpenAPIResponse)
            schema = (other.content or {})[media_type].schema if like else TEXT
            form = OpenAPIMediaType(schema=schema, examples={media_type: _example("also", sample)})
            found.content = {**(found.content or {}), media_type: form}

    return Also


def problems(*errors: type[RequestError]) -> Responses:
    """These, and those that any route with a token can answer, one example for each code."""
    by_status: dict[int, list[Problem]] = {500: [INTERNAL]}
    for error in (Unauthorized, OriginRefused, *errors, TooManyRequests, Unavailable):
        by_status.setdefault(error.status, []).append(problem_of(error()))
    return {
        status: _Shared(
            data_container=Problem,
            generate_examples=False,
            description=" · ".join(f"`{problem.code}`: {problem.title}" for problem in found),
            media_type=PROBLEM_JSON,
            examples=[_example(problem.code, problem) for problem in found],
        )
        for status, found in sorted(by_status.items())
    }


class _Shared(ResponseSpec):
    """One for all: every application copies its routes, and what describes them never changes."""

    def __deepcopy__(self, _: object) -> _Shared:
        return self


def body(description: str, sample: msgspec.Struct) -> Any:
    return Body(description=description, examples=[_example("example", sample)])


def _example(name: str, sample: object) -> Example:
    # The struct itself: of plain values the framework would leave out those that are null.
    return Example(id=name, summary=name, value=sample)


async def _not_found_as_everywhere(response: Response[Any]) -> Response[Any]:
    """The framework has an HTML page for unknown paths below /schema."""
    if response.status_code == NotFound.status:
        raise NotFound
    return response


class Document(OpenAPI):
    """The framework's document, and the events of a stream: it describes bodies, and no stream."""

    def to_schema(self) -> dict[str, Any]:
        document = super().to_schema()
        schemas = document["components"]["schemas"]
        document["components"]["schemas"] = dict(sorted((event_schemas() | schemas).items()))
        return document


class Config(OpenAPIConfig):
    def to_openapi_schema(self) -> OpenAPI:
        found = super().to_openapi_schema()
        return Document(**{field.name: getattr(found, field.name) for field in fields(found)})


def openapi_config(version: str) -> OpenAPIConfig:
    return Config(
        title="Parley",
        version=version,
        description="An open chat-agent service. Say something in a conversation; a turn answers "
        "it; follow the conversation by events or by polling, with one cursor for both.",
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        openapi_router=Router(
            "/schema",
            route_handlers=[],
            include_in_schema=False,
            opt={PUBLIC: True},
            after_request=_not_found_as_everywhere,
            response_headers={"Content-Security-Policy": POLICY},
        ),
        render_plugins=[Reference(), JsonRenderPlugin()],
        create_examples=False,
        security=[{BEARER: []}, {COOKIE: []}],
        components=Components(
            security_schemes={
                BEARER: SecurityScheme(
                    type="http",
                    scheme="bearer",
                    bearer_format="JWT",
                    description="Which kinds there are is a matter of settings. A signed token, "
                    "by our secret (HS256) or by a key of the identity provider (RS256, ES256, "
                    "EdDSA): `sub` is the owner. The token of a session of another application: "
                    "its user is the owner. The service token: the owner is named in the header "
                    f"`{USER_HEADER}`, which counts with no other token.",
                ),
                COOKIE: SecurityScheme(
                    type="apiKey",
                    security_scheme_in="cookie",
                    name=NAME,
                    description="From `POST /api/session`. What changes something must also come "
                    "from this origin or an allowed one, as its `Origin` says. A request with a "
                    "token is taken by its token. In development without TLS the name is "
                    f"`{PLAIN_NAME}`.",
                ),
                TICKET: SecurityScheme(
                    type="apiKey",
                    security_scheme_in="query",
                    name="ticket",
                    description="For one stream of one conversation, once, within 30 seconds.",
                ),
            }
        ),
        tags=[
            Tag("conversations", "An owner's threads of messages."),
            Tag("messages", "Saying something, and reading what was said."),
            Tag("events", "Following a conversation as it happens."),
            Tag("turns", "One user message and all the work until its answer or failure."),
            Tag("search", "Finding what was said."),
            Tag("feedback", "What the owner thinks of the answers."),
            Tag("tasks", "The to-do list that the agent works on."),
            Tag("older routes", "The same under names that clients used before."),
            Tag("access", "A browser's session instead of a token."),
            Tag("health", "For load balancers and people on call."),
        ],
    )
