"""Tickets: each opens one stream, once; and what ends a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from litestar import Litestar
from sqlalchemy import text

from api.app import create_app
from api.auth import TICKETS
from api.cookies import hash_of
from shared.connection import EVERYONE
from shared.db import Database
from shared.feed import Feed
from shared.settings import Settings
from shared.store.tickets import use_ticket
from tests.api.talk import CONVERSATIONS, Json, begin, expect_problem, path_of
from tests.api.test_auth import OPEN, SOME_ID, routes
from tests.api.test_cookies import log_in
from tests.fixtures.http import speaking
from tests.fixtures.people import Person
from tests.fixtures.sessions import TABLE, Sessions
from tests.fixtures.sse import parse
from tests.fixtures.waiting import DEADLINE_SECONDS, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def app(settings: Settings) -> Litestar:
    """Its streams end soon by themselves."""
    changed = {"parley_sessions_table": TABLE, "parley_stream_lifetime_seconds": 0.2}
    return create_app(settings.model_copy(update=changed))


@pytest.fixture
def restless(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Litestar:
    """Its streams end only for a reason, and it looks for one all the time."""
    monkeypatch.setattr("api.lookout.ACCESS_SECONDS", 0)
    monkeypatch.setattr("api.lookout.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("api.lookout.LOOK_SECONDS_WITHOUT_FEED", 0.02)
    return create_app(settings.model_copy(update={"parley_sessions_table": TABLE}))


@pytest.fixture
async def patient(restless: Litestar) -> AsyncIterator[AsyncClient]:
    async with speaking(restless) as client:
        yield client


@pytest.fixture
def watching(restless: Litestar) -> Feed:
    """Who follows a stream of that one."""
    provide: Callable[[], Feed] = restless.dependencies["feed"].dependency  # pyright: ignore
    return provide()


def events_of(conversation: Json | str) -> str:
    return f"{path_of(conversation)}/events"


async def take(client: AsyncClient, conversation: Json, headers: dict[str, str]) -> str:
    answer = await client.post(f"{path_of(conversation)}/tickets", headers=headers)
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["ticket"]
    return found


async def follow(client: AsyncClient, conversation: Json | str, ticket: str) -> Response:
    """Without any other sign of who asks; until the stream ends."""
    client.headers.pop("authorization", None)
    return await client.get(events_of(conversation), params={"ticket": ticket})


def reason(answer: Response) -> str:
    assert answer.status_code == 200, answer.text
    last = parse(answer.content)[-1]
    assert last.name == "stream.closing"
    found: str = last.data["reason"]
    return found


async def reasons(*streams: asyncio.Task[Response]) -> list[str]:
    """Once all of them have ended, which they do soon."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        return [reason(answer) for answer in await asyncio.gather(*streams)]


async def test_a_ticket_opens_the_stream_once(
    client: AsyncClient, alice: Person, db: Database
) -> None:
    conversation = await begin(client)
    answer = await client.post(f"{path_of(conversation)}/tickets")
    assert answer.status_code == 201
    ticket = answer.json()["ticket"]
    left = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=25) < left <= timedelta(seconds=30.5)
    async with db.snapshot(EVERYONE) as tx:
        stored = await tx.scalar(text("SELECT ticket_hash FROM stream_tickets"))
    assert bytes(stored) == sha256(ticket.encode()).digest()
    assert reason(await follow(client, conversation, ticket)) == "lifetime"
    expect_problem(await follow(client, conversation, ticket), 401, "unauthorized")


async def test_of_many_who_come_with_a_ticket_one_gets_it(
    client: AsyncClient, alice: Person, db: Database
) -> None:
    """Real transactions at the same time, each on a connection of its own."""
    conversation = await begin(client)
    about = UUID(conversation["id"])
    for _ in range(5):
        ticket = await take(client, conversation, alice.headers)

        async def use(ticket: str = ticket) -> bool:
            async with db.transaction(EVERYONE) as tx:
                return await use_ticket(tx, hash_of(ticket), about) is not None

        assert sorted(await asyncio.gather(*(use() for _ in range(10)))) == [False] * 9 + [True]
    ticket = await take(client, conversation, alice.headers)
    answers = await asyncio.gather(*(follow(client, conversation, ticket) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]


async def test_a_ticket_is_for_its_conversation(
    client: AsyncClient, alice: Person, bob: Person
) -> None:
    conversation, other = await begin(client), await begin(client)
    refused = await client.post(f"{path_of(conversation)}/tickets", headers=bob.headers)
    expect_problem(refused, 404, "not_found")
    refused = await client.post(f"{CONVERSATIONS}/{SOME_ID}/tickets")
    expect_problem(refused, 404, "not_found")
    ticket = await take(client, conversation, alice.headers)
    for wrong in (other, SOME_ID, "no-uuid"):
        expect_problem(await follow(client, wrong, ticket), 401, "unauthorized")
    assert reason(await follow(client, conversation, ticket)) == "lifetime"


async def test_a_ticket_that_is_over_or_made_up_is_refused(
    client: AsyncClient, alice: Person, db: Database
) -> None:
    conversation = await begin(client)
    ticket = await take(client, conversation, alice.headers)
    for wrong in ("", "x", ticket[:-1], f"{ticket}x", hash_of(ticket).hex(), alice.token):
        expect_problem(await follow(client, conversation, wrong), 401, "unauthorized")
    answer = await client.get(
        f"{events_of(conversation)}?ticket={ticket}&ticket={ticket}", headers={}
    )
    expect_problem(answer, 401, "unauthorized")
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("UPDATE stream_tickets SET expires_at = clock_timestamp()"))
    expect_problem(await follow(client, conversation, ticket), 401, "unauthorized")


async def test_a_ticket_is_good_for_no_other_route(
    client: AsyncClient, app: Litestar, alice: Person, sessions: Sessions
) -> None:
    conversation = await begin(client)
    ticket = await take(client, conversation, alice.headers)
    client.headers.pop("authorization")
    for method, path in routes(app):
        if path in OPEN or path.endswith("/events"):
            continue
        asked = path.replace("{conversation_id}", conversation["id"]).replace("{turn_id}", SOME_ID)
        for given in ({"params": {"ticket": ticket}}, {"headers": {"Cookie": f"ticket={ticket}"}}):
            answer = await client.request(method, asked, **given)  # pyright: ignore
            expect_problem(answer, 401, "unauthorized")
        headers = {"Authorization": f"Bearer {ticket}"}
        expect_problem(await client.request(method, asked, headers=headers), 401, "unauthorized")
    takers = [h for route in app.routes for h in getattr(route, "route_handlers", ())]
    assert [str(h) for h in takers if h.opt.get(TICKETS)] == ["api.routes.events.follow"]
    assert reason(await follow(client, conversation, ticket)) == "lifetime"


async def test_a_ticket_beside_a_token_is_refused_and_beside_a_cookie_counts(
    client: AsyncClient, alice: Person, bob: Person
) -> None:
    conversation = await begin(client)
    ticket = await take(client, conversation, alice.headers)
    for person in (alice, bob):
        answer = await client.get(
            events_of(conversation), params={"ticket": ticket}, headers=person.headers
        )
        expect_problem(answer, 401, "unauthorized")
    browser = await log_in(client, bob.headers)
    client.headers.pop("authorization")
    answer = await client.get(events_of(conversation), params={"ticket": ticket}, headers=browser)
    assert reason(answer) == "lifetime"


async def test_a_token_in_an_address_is_not_read(
    client: AsyncClient, alice: Person, sessions: Sessions
) -> None:
    """Addresses stand in logs and histories."""
    conversation = await begin(client)
    session = await sessions.add("token")
    client.headers.pop("authorization")
    names = ("token", "access_token", "authorization", "Authorization", "bearer", "jwt", "ticket")
    for path in (events_of(conversation), CONVERSATIONS):
        for name in names:
            for value in (alice.token, f"Bearer {alice.token}", session):
                answer = await client.get(path, params={name: value})
                expect_problem(answer, 401, "unauthorized")
    answer = await client.get(CONVERSATIONS, params={"token": "x"}, headers=alice.headers)
    expect_problem(answer, 400, "invalid_request")


async def test_no_log_line_has_a_ticket_or_a_cookie(
    client: AsyncClient, alice: Person, capfd: pytest.CaptureFixture[str]
) -> None:
    conversation = await begin(client)
    ticket = await take(client, conversation, alice.headers)
    browser = await log_in(client, alice.headers)
    await follow(client, conversation, ticket)
    await follow(client, conversation, ticket)
    await client.get("/nowhere", params={"ticket": ticket}, headers=browser)
    printed = "".join(capfd.readouterr())
    assert "http_request" in printed
    for secret in (ticket, browser["Cookie"].partition("=")[2], alice.token):
        assert secret not in printed


async def test_a_ticket_is_no_longer_good_than_what_it_was_taken_with(
    client: AsyncClient, alice: Person, sessions: Sessions, db: Database
) -> None:
    conversation = await begin(client)
    browser = await log_in(client, alice.headers)
    client.headers.pop("authorization")
    ticket = await take(client, conversation, browser)
    await client.delete("/api/session", headers=browser)
    expect_problem(await follow(client, conversation, ticket), 401, "unauthorized")
    session = {"Authorization": f"Bearer {await sessions.add('token')}"}
    ticket = await take(client, conversation, session)
    await sessions.end()
    expect_problem(await follow(client, conversation, ticket), 401, "unauthorized")
    ticket = await take(client, conversation, alice.headers)
    async with db.transaction(EVERYONE) as tx:
        await tx.execute(text("UPDATE stream_tickets SET access_expires_at = clock_timestamp()"))
    expect_problem(await follow(client, conversation, ticket), 401, "unauthorized")


async def begin_as(client: AsyncClient, person: Person) -> Json:
    answer = await client.post(CONVERSATIONS, json={}, headers=person.headers)
    found: Json = answer.json()
    return found


async def test_a_stream_ends_with_the_session_it_was_opened_with(
    patient: AsyncClient, watching: Feed, alice: Person, sessions: Sessions
) -> None:
    """By its own token, by a cookie, and by a ticket taken with a cookie."""
    conversation = await begin_as(patient, alice)
    path = events_of(conversation)
    by_session = {"Authorization": f"Bearer {await sessions.add('token')}"}
    from_session = await log_in(patient, by_session)
    browser = await log_in(patient, alice.headers)
    ticket = await take(patient, conversation, browser)
    streams = [
        asyncio.create_task(patient.get(path, headers=by_session)),
        asyncio.create_task(patient.get(path, headers=from_session)),
    ]
    own = [
        asyncio.create_task(patient.get(path, headers=browser)),
        asyncio.create_task(patient.get(path, params={"ticket": ticket})),
    ]
    stays = asyncio.create_task(patient.get(path, headers=alice.headers))
    await until(lambda: len(watching.viewers) == 5)
    await sessions.end()
    assert await reasons(*streams) == ["unauthorized"] * 2
    assert not any(stream.done() for stream in own)
    await patient.delete("/api/session", headers=browser)
    assert await reasons(*own) == ["unauthorized"] * 2
    assert not stays.done()
    await patient.delete(path_of(conversation), headers=alice.headers)
    assert await reasons(stays) == ["deleted"]


async def test_a_stream_opened_with_a_ticket_ends_with_the_token_behind_it(
    patient: AsyncClient, alice: Person, db: Database
) -> None:
    conversation = await begin_as(patient, alice)
    ticket = await take(patient, conversation, alice.headers)
    async with db.transaction(EVERYONE) as tx:
        soon = "UPDATE stream_tickets SET access_expires_at = clock_timestamp() + interval '1 s'"
        await tx.execute(text(soon))
    assert reason(await follow(patient, conversation, ticket)) == "unauthorized"
