"""No way of writing a path, a header or a request leads past the check of the token."""

from __future__ import annotations

import json

import pytest
from httpx import AsyncClient

from api.web_files import WebFiles
from shared.ids import new_id
from tests.api.talk import CONVERSATIONS, begin, messages_of, path_of
from tests.attacks import raw
from tests.fixtures.people import Person
from tests.fixtures.service import Service

pytestmark = pytest.mark.anyio

PAGE = WebFiles().index.content
OPEN = {b'{"status":"ok"}'}
TRICKS = [
    *("//api/tasks", "///api//tasks", "/api/tasks/", "/api/tasks//", "/./api/tasks"),
    *("/health/../api/tasks", "/health/%2e%2e/api/tasks", "/health/..%2fapi/tasks"),
    *("/health%2f..%2fapi%2ftasks", "/schema/../api/tasks", "/api/chat/../tasks", "/.."),
    *("/api/tasks;/health", "/api/tasks%3b/health", "/api/tasks%00", "/api/tasks%0d%0aX: y"),
    *("/api/tasks%23/health", "/api/tasks#/health", "/api/tasks?/health", "/api/tasks\\health"),
    *("/API/TASKS", "/Api/tasks", "/api/tasks.json", "/api/tasks/health", "/api/%74asks"),
    *("/%61pi/tasks", "/api%2Ftasks", "/api%252ftasks", "/api/tasks%20", "/api/tasks%"),
    *("/api/%ff%fe", "/api/\xff", "/health/x", "/health;x", "/HEALTH/../api/tasks", "*"),
    *("/schema/%2e%2e/api/tasks", "/schema//api/tasks", "http://parley.test/api/tasks"),
    *("//parley.test/api/tasks", "/api/chat/conversations/health", "/api/chat/turns/schema"),
]


async def test_no_trick_with_a_path_opens_a_route_without_a_token(service: Service) -> None:
    closed: set[int] = set()
    for target in TRICKS:
        status, body = await raw.get(service.api, target)
        assert status in {400, 401, 404} or body == PAGE, (target, status, body)
        assert b"tasks" not in body, target
        closed.add(status)
    assert 401 in closed


async def test_what_is_open_is_open_under_its_own_name_alone(service: Service) -> None:
    assert await raw.get(service.api, "/health") == (200, b'{"status":"ok"}')
    for target in ("//health", "/health//", "/./health", "/%68ealth", "/health?x=/api/tasks"):
        status, body = await raw.get(service.api, target)
        assert status == 401 or body in OPEN or body == PAGE, (target, status, body)


async def test_with_a_token_too_no_path_makes_the_server_fail(service: Service) -> None:
    token = f"Authorization: Bearer {service.person.token}"
    for target in (*TRICKS, "/api/chat/conversations/" + "%2e" * 500, "/" + "a/" * 2000):
        for method in ("GET", "POST", "DELETE"):
            status, body = await raw.get(service.api, target, token, method=method)
            assert status < 500, (method, target, body)


async def test_headers_that_speak_of_another_path_method_or_person_change_nothing(
    client: AsyncClient, alice: Person, bob: Person
) -> None:
    conversation = await begin(client, title="private")
    path = path_of(conversation)
    spoofed = {
        **{f"X-Forwarded-{name}": "alice" for name in ("User", "Email", "Preferred-Username")},
        **dict.fromkeys(("X-User-Id", "X-Remote-User", "X-Auth-User", "Remote-User"), "alice"),
        **dict.fromkeys(("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix"), "/health"),
        **dict.fromkeys(("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method"), "DELETE"),
        **dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-IP"), "127.0.0.1"),
        **{"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "https", "Host": "evil.test"},
    }
    assert (await client.get(path, headers=spoofed | bob.headers)).status_code == 404
    without = spoofed | {"Authorization": ""}
    assert (await client.get(path, headers=without)).status_code == 401
    plain = await client.get(path)
    answer = await client.get(path, headers=spoofed | alice.headers)
    assert (answer.status_code, answer.content) == (200, plain.content)
    answer = await client.post(
        messages_of(conversation), json={"content": "x"}, headers=spoofed | alice.headers
    )
    assert answer.headers["location"].startswith("/api/chat/turns/")
    assert "evil.test" not in str(answer.headers)


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4",
        b"Content-Length: 4\r\nContent-Length: 60",
        b"Content-Length: 4, 60",
        b"Content-Length: +4",
        b"Content-Length: -1",
        b"Content-Length: 0x4",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding:\x0bchunked",
    ],
)
async def test_no_second_request_can_be_smuggled_in_the_body_of_a_first(
    service: Service, framing: bytes
) -> None:
    """Where two readers could see different ends of a body, the server sees none at all."""
    title = f"smuggled {new_id().hex}"
    token = f"Authorization: Bearer {service.person.token}".encode()
    body = json.dumps({"title": title}).encode()
    hidden = [b"POST /api/chat/conversations HTTP/1.1", b"Host: x", token]
    hidden += [b"Content-Type: application/json", b"Content-Length: %d" % len(body), b"", body]
    head = [b"POST /api/chat/conversations HTTP/1.1", b"Host: x", token]
    head += [b"Content-Type: application/json", framing, b"", b""]
    answer = await raw.send(service.api, b"\r\n".join(head), b"0\r\n\r\n", b"\r\n".join(hidden))
    assert raw.statuses(answer) == [400]
    listed = await service.client.get(CONVERSATIONS, params={"limit": 5})
    assert title not in listed.text
