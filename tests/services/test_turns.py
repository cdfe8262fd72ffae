"""Whole turns between services that somebody else runs: Postgres behind a pooler, and a Redis that
has sentinels and gives us no more rights than `docs/services.md` says.
"""

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from cli.embedded import Service as Server
from cli.erase import Target, erase
from cli.process import Child
from shared.jobs import HEARD
from shared.settings import Settings
from tests.fixtures.following import answered, following, streaming
from tests.fixtures.nursery import Nursery
from tests.fixtures.people import Person, make_token
from tests.fixtures.processes import Starter, free_port
from tests.fixtures.servers import RunStatements, folder, new_database
from tests.fixtures.service import Service
from tests.fixtures.settings import make_settings
from tests.fixtures.stand_in import StandIn, pointing_at
from tests.fixtures.waiting import until
from tests.services.conftest import Pooler
from tests.services.servers import redis_server, rights_of_ours, sentinel

pytestmark = pytest.mark.anyio

CONVERSATIONS = 6
PASSWORD = "sesame"
ADMIN = "boss"
TEXT = "First then the rest"


@dataclass
class Watched:
    """A master, its replica, and a sentinel that looks at both."""

    servers: dict[int, Child]
    master: int
    sentinels: list[int]

    @property
    def url(self) -> str:
        """The first of the sentinels isn't there."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://parley:{PASSWORD}@{hosts}/ours/0"

    def admin(self, port: int) -> redis.Redis:
        return redis.Redis(port=port, username=ADMIN, password=PASSWORD, decode_responses=True)

    def ask(self, port: int, *question: str) -> Any:
        with self.admin(port) as client:
            return client.execute_command(*question)

    def successor(self) -> int:
        """Once the sentinel is content with one; until then 0."""
        state = self._known("sentinel_masters")["ours"]
        fine = not (state["is_sdown"] or state["is_odown"] or state["is_disconnected"])
        return int(state["port"]) if fine and state["port"] != self.master else 0

    def has_replica(self) -> bool:
        found = self._known("sentinel_slaves", "ours")
        return any(not (slave["is_disconnected"] or slave["is_sdown"]) for slave in found)

    def _known(self, question: str, *about: str) -> Any:
        with redis.Redis(port=self.sentinels[-1]) as client:
            return getattr(client, question)(*about)

    def kill_master(self) -> None:
        self.servers[self.master].kill()


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    nowhere, master, replica, looking = (free_port() for _ in range(4))
    users = (
        *("--user", "default", "off", "--user", ADMIN, "on", f">{PASSWORD}", "~*", "&*", "+@all"),
        *("--user", "parley", "on", f">{PASSWORD}", *rights_of_ours()),
        *("--masteruser", ADMIN, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"),
    )
    lines = (
        f"sentinel monitor ours 127.0.0.1 {master} 1",
        "sentinel down-after-milliseconds ours 1000",
        "sentinel failover-timeout ours 2000",
        f"sentinel auth-user ours {ADMIN}\nsentinel auth-pass ours {PASSWORD}",
    )
    with ExitStack() as stack:
        place = stack.enter_context(folder())
        of_master = ("--replicaof", "127.0.0.1", str(master))
        servers = {
            master: stack.enter_context(redis_server(place, master, *users)),
            replica: stack.enter_context(redis_server(place, replica, *users, *of_master)),
        }
        stack.enter_context(sentinel(place, looking, *lines))
        yield Watched(servers, master, [nowhere, looking])


@pytest.fixture(scope="module")
def database(admin: RunStatements, postgres: Server, template_database: str) -> Iterator[str]:
    with new_database(admin, postgres, template_database) as url:
        yield urlsplit(url).path[1:]


@pytest.fixture(scope="module")
async def served(
    tmp_path_factory: pytest.TempPathFactory,
    nursery: Nursery,
    database: str,
    pooler: Pooler,
    watched: Watched,
    stand_in_server: StandIn,
) -> AsyncGenerator[Service]:
    starter = Starter(tmp_path_factory.mktemp("services"), nursery)
    settings = make_settings(
        pooler.url(database), watched.url, parley_port=free_port(), **pointing_at(stand_in_server)
    )
    api, worker = await asyncio.gather(starter.api(settings), starter.worker(settings))
    alice = Person("alice", make_token(settings, "alice"))

    def nobody(**_: Any) -> Any:
        raise AssertionError("one worker is enough")

    async with httpx.AsyncClient(base_url=api.url, headers=alice.headers, timeout=60) as client:
        yield Service(api, [worker], alice, stand_in_server, client, nobody)
    await starter.end()


async def test_turns_of_two_owners_at_once(served: Service, stand_in: StandIn) -> None:
    headers = {"Authorization": f"Bearer {make_token(served.api.settings, 'bob')}"}

    async def talk(client: httpx.AsyncClient, name: str, number: int) -> None:
        made = await client.post("/api/chat/conversations", json={})
        path = f"/api/chat/conversations/{made.json()['id']}/messages"
        said = {"content": f"say {name} {number}"}
        answer = await client.post(path, json=said, params={"wait": 30})
        assert answer.json()["assistant_message"]["content"] == f"{name} {number}", answer.text

    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=60) as other:
        clients = ((served.client, "alice"), (other, "bob"))
        chats = (talk(client, name, n) for n in range(CONVERSATIONS) for client, name in clients)
        await asyncio.gather(*chats)
        for client, name in clients:
            listed = (await client.get("/api/chat/conversations")).json()["conversations"]
            assert len(listed) == CONVERSATIONS
            assert all(entry["last_message_preview"].startswith(name) for entry in listed)
        ready = await other.get("/health/ready")
        assert ready.status_code == 200, ready.text


async def test_turns_go_on_when_the_master_is_killed_and_the_replica_takes_over(
    served: Service, watched: Watched, stand_in: StandIn
) -> None:
    conversation_id = await served.conversation()
    await until(watched.has_replica)
    async with following(served, conversation_id) as viewer:
        await served.say(conversation_id, f"gated {TEXT}")
        await viewer.until(streaming("First "))
        watched.kill_master()
        stand_in.open_gate()
        await viewer.until(answered(TEXT))
        new = await until(watched.successor)
        await until(lambda: len(watched.ask(new, "PUBSUB", "CHANNELS", "parley:feed:*")) == 2)
        assert watched.ask(new, "PUBSUB", "NUMSUB", "parley:feed")[1] == 2
        stand_in.close_gate()
        await until(lambda: rings_are_heard(served, watched, new))
        await served.say(conversation_id, "gated Again and on")
        # Only Redis knows what is not committed yet.
        await viewer.until(streaming("Again "))
        stand_in.open_gate()
        await viewer.until(answered(TEXT, "Again and on"))
    counted = watched.ask(new, "GET", "parley:limit:requests:alice")
    assert int(counted) > 0
    await expect_enough_rights(served.api.settings, watched, new)


async def rings_are_heard(served: Service, watched: Watched, port: int) -> bool:
    """The sweep would find the turn too; but whoever takes a ring says so."""
    heard = int(watched.ask(port, "GET", HEARD) or 0)
    await served.say(await served.conversation(), "say something", wait=30)
    return int(watched.ask(port, "GET", HEARD) or 0) > heard


async def expect_enough_rights(settings: Settings, watched: Watched, port: int) -> None:
    """Nothing that the service or an erasure asked for was refused."""
    receipt = await erase(settings, Target(user="alice"))
    assert receipt.clean, receipt
    assert receipt.redis["limit:requests"] == 1
    with watched.admin(port) as client:
        refused = cast("list[Any]", client.acl_log())
    assert [(entry["reason"], entry["object"]) for entry in refused] == []
