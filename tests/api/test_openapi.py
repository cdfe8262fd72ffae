from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from anyio import to_thread
from httpx import AsyncClient
from jsonschema import Draft202012Validator
from litestar import Litestar

from api.cookies import NAME
from api.samples import EVENTS, KEY
from tests.api.talk import CONVERSATIONS, get, messages_of
from tests.api.test_auth import OPEN, PAGE, routes
from tests.fixtures.processes import ROOT
from tests.fixtures.sse import parse

pytestmark = pytest.mark.anyio

BODILESS = ("/cancel", "/retry", "/tickets", "/session", "/launcher")
PROBLEM = "application/problem+json"
ALSO_BY_MCP = [("/mcp", status) for status in ("400", "404", "406")]


async def operations(client: AsyncClient) -> list[tuple[str, str, dict[str, Any]]]:
    document = await get(client, "/schema/openapi.json")
    return [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


async def test_every_route_is_described(client: AsyncClient, app: Litestar) -> None:
    document = await get(client, "/schema/openapi.json")
    assert document["openapi"].startswith("3.1")
    described = {(method, path) for method, path, _ in await operations(client)}
    hidden = {"/schema", "/schema/openapi.json", "/schema/{path}", *PAGE}
    assert described == {found for found in routes(app) if found[1] not in hidden}
    for _, _, operation in await operations(client):
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]


async def test_every_route_has_examples_and_they_fit_their_schemas(client: AsyncClient) -> None:
    document = await get(client, "/schema/openapi.json")
    for method, path, operation in await operations(client):
        contents = [
            content
            for response in operation["responses"].values()
            for content in response.get("content", {}).values()
        ]
        assert contents, (method, path)
        for content in contents:
            validator = Draft202012Validator(
                content["schema"] | {"components": document["components"]}
            )
            assert content["examples"], (method, path)
            for example in content["examples"].values():
                validator.validate(example["value"])  # pyright: ignore[reportUnknownMemberType]
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["schema"]["examples"]
        else:
            assert method in ("GET", "DELETE") or path.endswith(BODILESS)


async def test_every_route_lists_its_problems_in_their_one_shape(client: AsyncClient) -> None:
    for method, path, operation in await operations(client):
        statuses = set(operation["responses"])
        if path in OPEN:
            assert operation["security"] == [{}]
            continue
        assert statuses >= {"401", "403", "500", "503"}, (method, path)
        assert "_id}" not in path.replace("{user_id}", "") or "404" in statuses, (method, path)
        assert "{user_id}" not in path or "403" in statuses, (method, path)
        if operation.get("parameters") or method in ("POST", "PUT", "PATCH"):
            assert "400" in statuses, (method, path)
        if "requestBody" in operation:
            assert statuses >= {"413", "415"}
        for status, response in operation["responses"].items():
            if status >= "400" and (path, status) not in ALSO_BY_MCP:
                assert list(response["content"]) == [PROBLEM], (method, path, status)
                schema = response["content"][PROBLEM]["schema"]
                assert schema["$ref"].endswith("/Problem")
                for code, example in response["content"][PROBLEM]["examples"].items():
                    assert example["value"]["code"] == code
                    assert str(example["value"]["status"]) == status


async def test_the_token_is_part_of_the_description(client: AsyncClient) -> None:
    document = await get(client, "/schema/openapi.json")
    assert document["security"] == [{"BearerAuth": []}, {"SessionCookie": []}]
    schemes = document["components"]["securitySchemes"]
    bearer, cookie = schemes["BearerAuth"], schemes["SessionCookie"]
    assert (bearer["type"], bearer["scheme"], bearer["bearerFormat"]) == ("http", "bearer", "JWT")
    assert (cookie["type"], cookie["in"], cookie["name"]) == ("apiKey", "cookie", NAME)
    own = {
        (method, path): operation["security"]
        for method, path, operation in await operations(client)
        if "security" in operation and path not in OPEN
    }
    assert own == {
        ("POST", "/api/session"): [{"BearerAuth": []}],
        ("POST", "/api/session/launcher"): [{}],
        ("GET", f"{CONVERSATIONS}/{{conversation_id}}/events"): [
            *({"BearerAuth": []}, {"SessionCookie": []}, {"StreamTicket": []})
        ],
    }


async def test_what_makes_something_takes_an_idempotency_key(client: AsyncClient) -> None:
    makers: set[str] = set()
    for method, path, operation in await operations(client):
        parameters = {found["name"]: found for found in operation.get("parameters", ())}
        if "Idempotency-Key" not in parameters:
            continue
        assert method == "POST"
        makers.add(path)
        key = parameters["Idempotency-Key"]
        assert (key["in"], key["required"]) == ("header", False)
        assert key["description"]
        assert [example["value"] for example in key["examples"].values()] == [KEY]
        assert (
            "idempotency_key_reused"
            in operation["responses"]["422"]["content"][PROBLEM]["examples"]
        )
    assert makers == {
        *(CONVERSATIONS, messages_of("{conversation_id}")),
        *("/api/chat", "/api/v1/{user_id}/chat", "/chatkit"),
    }


async def test_the_events_of_a_stream_have_schemas_that_fit_them(client: AsyncClient) -> None:
    document = await get(client, "/schema/openapi.json")
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/Event", "components": document["components"]}
    )
    seen: set[str] = set()
    for event in parse(EVENTS.encode()):
        validator.validate({"event": event.name} | event.data)  # pyright: ignore[reportUnknownMemberType]
        seen.add(event.name)
    unheard = {"event": "message.unheard", "seq": 1}
    assert not validator.is_valid(unheard)  # pyright: ignore[reportUnknownMemberType]
    union = document["components"]["schemas"]["Event"]
    assert len(seen) == 3
    assert set(union["discriminator"]["mapping"]) > seen


async def test_the_document_is_printed_without_a_service(client: AsyncClient) -> None:
    printed = await to_thread.run_sync(
        lambda: subprocess.run(
            [sys.executable, "-m", "api.schema"], capture_output=True, check=True, cwd=ROOT
        )
    )
    assert json.loads(printed.stdout) == await get(client, "/schema/openapi.json")


async def test_the_page_needs_nothing_from_elsewhere(client: AsyncClient) -> None:
    client.headers.pop("authorization")
    answer = await client.get("/schema")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    page = answer.text
    assert not re.search(r"https?://|//[a-z]|<script|<link|<img|@import|url\(", page, re.I)
    assert "'unsafe" not in answer.headers["content-security-policy"]
    for method, path, operation in await operations(client):
        assert f'id="{method.lower()}-{path}"' in page
        assert operation["summary"] in page
    targets = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= targets
    assert "problem-not_found" in targets


async def test_other_pages_below_the_schema_are_not_there(client: AsyncClient) -> None:
    for path in ("/schema/redoc", "/schema/swagger", "/schema/x.json"):
        assert (await client.get(path)).json()["code"] == "not_found"
