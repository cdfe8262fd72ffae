"""Session tokens of another application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response
from litestar import Litestar
from pydantic import SecretStr
from sqlalchemy import text

from api.app import create_app
from api.standing import Standing
from shared.access import Access
from shared.connection import LOGIN
from shared.db import Database
from shared.errors import SettingsError
from shared.settings import Settings
from shared.store.sessions import session_table
from tests.api.talk import begin, expect_problem, path_of
from tests.api.test_cookies import log_in
from tests.fixtures.http import speaking
from tests.fixtures.sessions import TABLE, Sessions
from tests.fixtures.settings import SERVICE_TOKEN as SERVICE

pytestmark = pytest.mark.anyio

SOME_ID = "019caf3e-2f40-7a51-8c1d-0b6f5e2d9a1"
WITH_SESSIONS = {"parley_sessions_table": TABLE}
WITH_SERVICE = {"service_auth_token": SecretStr(SERVICE)}


@pytest.fixture
def app(settings: Settings) -> Litestar:
    """One that has every way in but the identity provider."""
    return create_app(settings.model_copy(update=WITH_SESSIONS | WITH_SERVICE))


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[AsyncClient]:
    async with speaking(app) as found:
        yield found


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} | headers


async def who(client: AsyncClient, token: str, **headers: str) -> Response:
    given = bearer(token, **headers)
    encoded = {name.encode(): value.encode() for name, value in given.items()}
    return await client.get("/api/session", headers=encoded)


async def expect_owner(client: AsyncClient, owner: str, token: str, **headers: str) -> None:
    answer = await who(client, token, **headers)
    assert (answer.status_code, answer.json()["user_id"]) == (200, owner)


async def expect_refused(client: AsyncClient, token: str, **headers: str) -> None:
    expect_problem(await who(client, token, **headers), 401, "unauthorized")


async def test_the_token_of_a_session_decides_who_the_owner_is(
    client: AsyncClient, sessions: Sessions
) -> None:
    alice = await sessions.add("token-of-alice", "alice", session="a")
    bob = await sessions.add("token.of.bob", "bob", session="b")
    await expect_owner(client, "alice", alice)
    await expect_owner(client, "bob", bob)
    client.headers.update(bearer(alice))
    conversation = await begin(client)
    expect_problem(await client.get(path_of(conversation), headers=bearer(bob)), 404, "not_found")


async def test_a_session_that_is_over_or_unclear_is_refused(
    client: AsyncClient, sessions: Sessions
) -> None:
    await sessions.add("known")
    for wrong in ("unknown", "KNOWN", "known ", "know", "'; --", "%", "*", "é", "x" * 513):
        await expect_refused(client, wrong)
    await sessions.add("expired", session="s2", seconds=-1)
    await expect_refused(client, "expired")
    await sessions.add("twice", "alice", session="s3")
    await sessions.add("twice", "bob", session="s4")
    await expect_refused(client, "twice")
    await sessions.add("nobody", None, session="s5")
    await sessions.add("blank", "  ", session="s6")
    await sessions.add("control", "a\nb", session="s7")
    await sessions.add(None, session="s8")
    for token in ("nobody", "blank", "control", "None", "null"):
        await expect_refused(client, token)


async def test_a_session_ends_with_the_very_next_request(
    client: AsyncClient, sessions: Sessions
) -> None:
    token = await sessions.add("token")
    await expect_owner(client, "alice", token)
    await sessions.change("expiresAt", datetime.now(UTC) - timedelta(seconds=1))
    await expect_refused(client, token)
    await sessions.change("expiresAt", datetime.now(UTC) + timedelta(hours=1))
    await expect_owner(client, "alice", token)
    await sessions.change("expiresAt", None)
    await expect_refused(client, token)
    await sessions.change("expiresAt", datetime.now(UTC) + timedelta(hours=1))
    await sessions.end()
    await expect_refused(client, token)


async def test_a_time_without_a_zone_is_utc(client: AsyncClient, db: Database) -> None:
    """Whatever the zone of the database is."""
    sessions = Sessions(db)
    await sessions.create(time_type="timestamp")
    naive = datetime.now(UTC).replace(tzinfo=None)
    await sessions.add("late", session="s1", expires=naive + timedelta(minutes=1))
    await sessions.add("over", session="s2", expires=naive - timedelta(minutes=1))
    async with db.transaction(LOGIN) as tx:
        name = await tx.scalar(text("SELECT current_database()"))
        await tx.execute(text(f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Tokyo'"))
    await db.engine.dispose()
    await expect_owner(client, "alice", "late")
    await expect_refused(client, "over")


async def test_a_column_that_tells_no_time_lets_nobody_in(
    client: AsyncClient, db: Database
) -> None:
    sessions = Sessions(db)
    await sessions.create(time_type="bigint")
    await sessions.run("INSERT INTO user_sessions VALUES ('s', 'alice', 'token', 9999999999999)")
    await expect_refused(client, "token")


async def test_without_the_setting_no_table_is_asked(
    settings: Settings, sessions: Sessions
) -> None:
    token = await sessions.add("token")
    async with speaking(create_app(settings)) as client:
        await expect_refused(client, token)


async def test_table_and_columns_go_by_the_names_in_the_settings(
    settings: Settings, db: Database
) -> None:
    sessions = Sessions(db, '"Auth"."Session$"')
    await sessions.run('CREATE SCHEMA "Auth"')
    await sessions.run(
        'CREATE TABLE "Auth"."Session$" ("select" uuid PRIMARY KEY, owner_id int, "from" text, '
        "until timestamptz)"
    )
    session = "019caf3e-2f40-7a51-8c1d-0b6f5e2d9a10"
    await sessions.add("token", 7, session=session)  # pyright: ignore[reportArgumentType]
    names = {
        "parley_sessions_table": "Auth.Session$",
        "parley_sessions_id_column": "select",
        "parley_sessions_user_column": "owner_id",
        "parley_sessions_token_column": "from",
        "parley_sessions_expires_column": "until",
    }
    async with speaking(create_app(settings.model_copy(update=names))) as client:
        await expect_owner(client, "7", "token")


@pytest.mark.parametrize("kind", ["text", "uuid", "bigint"])
async def test_sessions_are_looked_after_by_the_index_of_their_id(
    settings: Settings, db: Database, kind: str
) -> None:
    """Whatever type it has: the table is somebody else's and may be large."""
    sessions = Sessions(db)
    await sessions.create(id_type=kind)
    ids: dict[str, list[Any]] = {
        "text": ["a", "b"],
        "uuid": ["019caf3e-2f40-7a51-8c1d-0b6f5e2d9a10", "019caf3e-2f40-7a51-8c1d-0b6f5e2d9a11"],
        "bigint": [7, 8],
    }
    for number, session in enumerate(ids[kind]):
        await sessions.add(f"t{number}", session=session)
    table = session_table(settings.model_copy(update=WITH_SESSIONS))
    assert table is not None
    first, second = (str(session) for session in ids[kind])
    async with db.transaction(LOGIN) as tx:
        assert await table.standing(tx, [first, second]) == {first, second}
        assert await table.standing(tx, [first]) == {first}
        await tx.execute(text("SET LOCAL enable_seqscan = off"))
        query = text(f"EXPLAIN {table.standing_sql}")
        plan = [row[0] for row in await tx.all(query.bindparams(ids=[first]))]
    assert any("Index Cond" in line for line in plan), plan


@pytest.mark.parametrize("kind", ["uuid", "bigint", "varchar(3)"])
async def test_an_id_that_its_column_can_not_hold_any_more_is_no_session(
    client: AsyncClient, db: Database, settings: Settings, kind: str
) -> None:
    """Nor does it spoil the look at the others', which are asked for together."""
    sessions = Sessions(db)
    await sessions.create()
    await sessions.add("token", session="a text")
    browser = await log_in(client, bearer("token"))
    await sessions.run("DROP TABLE user_sessions")
    await sessions.create(id_type=kind)
    await db.engine.dispose()
    expect_problem(await client.get("/api/session", headers=browser), 401, "unauthorized")
    ids: list[Any] = {"uuid": [f"{SOME_ID}{n}" for n in range(4)], "bigint": [1, 2, 3, 4]}.get(
        kind, ["a", "b", "c", "d"]
    )
    for number, session in enumerate(ids):
        await sessions.add(f"t{number}", session=session)
    standing = Standing(db, session_table(settings.model_copy(update=WITH_SESSIONS)))
    ended = [Access("a text"), Access("also one")]
    assert await standing.lost([*ended, *(Access(str(found)) for found in ids)]) == {*ended}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("parley_sessions_table", value)
            for value in ("a.b.c", 'x"; DROP TABLE turns; --', ".x")
        ),
        *(("parley_sessions_table", value) for value in ("x y", "x.", "1x", "é", "x" * 64, "x;")),
        ("parley_sessions_id_column", 'id"'),
        ("parley_sessions_user_column", "a.b"),
        ("parley_sessions_token_column", "token = '' OR true --"),
        ("parley_sessions_expires_column", "now()"),
    ],
)
def test_a_name_that_could_be_more_than_a_name_is_refused_at_the_start(
    settings: Settings, name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=name.upper()):
        create_app(settings.model_copy(update=WITH_SESSIONS | {name: value}))


async def test_which_routes_there_are_is_told_to_everybody_with_a_token(
    client: AsyncClient, sessions: Sessions
) -> None:
    session = bearer(await sessions.add("token"))
    for headers in (session, bearer(SERVICE, **{"X-User-Id": "alice"})):
        expect_problem(await client.get("/nowhere", headers=headers), 404, "not_found")
        answer = await client.patch("/api/tasks", headers=headers)
        expect_problem(answer, 405, "method_not_allowed")
    await sessions.end()
    expect_problem(await client.get("/nowhere", headers=session), 401, "unauthorized")
