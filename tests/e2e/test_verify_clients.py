"""The clients of a proof against a whole service: in one that is well there is nothing to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from cli.verify import clients
from cli.verify.checks import check
from cli.verify.invariants import Verdict
from cli.verify.ledger import Ledger
from cli.verify.script import Features, Script
from shared.db import Database
from shared.settings import Settings
from tests.fixtures.people import make_token
from tests.fixtures.processes import StartOne, free_port
from tests.fixtures.service import Service, StartService

pytestmark = pytest.mark.anyio

TURNS = 8


@dataclass
class World:
    settings: Settings
    addresses: list[str]

    def urls(self) -> list[str]:
        return self.addresses

    def token(self, owner: str) -> str:
        return make_token(self.settings, owner)


async def proven(
    service: Service, db: Database, script: Script, *urls: str
) -> tuple[Ledger, Verdict]:
    ledger = Ledger()
    world = World(service.api.settings, [service.url, *urls])
    await clients.run(script, world, ledger)
    async with httpx.AsyncClient(base_url=service.stand_in.url) as client:
        report: dict[str, Any] = (await client.get("/verdict")).json()
    return ledger, await check(ledger, db, report)


async def test_a_service_that_is_well_gives_no_reason_to_complain(
    start_service: StartService, api_process: StartOne, db: Database
) -> None:
    service = await start_service()
    other = await api_process()
    ledger, verdict = await proven(service, db, Script.of(2, TURNS), other.url)
    assert verdict.violations == []
    assert ledger.progress() == (TURNS, TURNS)
    assert len(ledger.sent) == TURNS
    assert ledger.counts["abandoned"] == 0
    assert {"accepted_once", "final_answer", "effect_once", "numbers"} <= verdict.checked.keys()


async def test_clients_go_elsewhere_when_nobody_answers(
    start_service: StartService, db: Database
) -> None:
    service = await start_service()
    nobody = f"http://127.0.0.1:{free_port()}"
    script = Script.of(3, TURNS, Features(faults=False))
    ledger, verdict = await proven(service, db, script, nobody)
    assert verdict.violations == []
    assert ledger.progress() == (TURNS, TURNS)
    assert ledger.counts["repeats"] > TURNS
    assert ledger.counts["streams_broken"] > 0
