"""The verdict: what clients sent and saw, the rows, and what the model heard, put side by side."""

from __future__ import annotations

import asyncio
from typing import Any

from cli.verify.invariants import Invariant, Verdict
from cli.verify.judge_messages import judge_messages
from cli.verify.judge_tools import judge_tools
from cli.verify.judge_turns import judge_turns
from cli.verify.ledger import Ledger
from cli.verify.record import Findings, read_record
from shared.connection import EVERYONE
from shared.db import Database
from shared.store.audit import count_active

REST_SECONDS = 30.0
LOOK_SECONDS = 0.2


async def check(
    ledger: Ledger,
    db: Database,
    model_report: dict[str, Any],
    *,
    rest: float = REST_SECONDS,
) -> Verdict:
    """Call it when everything runs again; `model_report` is the stand-in's `/verdict` by then."""
    await _come_to_rest(ledger, db, rest)
    record = await read_record(db, ledger.owners)
    findings = Findings()
    judge_messages(record, ledger, findings)
    judge_turns(record, ledger, model_report, findings)
    judge_tools(record, ledger, findings)
    findings.checked[Invariant.model_input.name] = model_report["requests"]
    for told in model_report["invalid"]:
        findings.check(Invariant.model_input, False, told)
    counted = {f"clients: {name}": count for name, count in sorted(ledger.counts.items())}
    return Verdict([*ledger.violations, *findings.violations], counted | findings.checked)


async def _come_to_rest(ledger: Ledger, db: Database, seconds: float) -> None:
    """A request that its client has given up on may have begun something just now."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while clock() < deadline:
        async with db.snapshot(EVERYONE) as tx:
            if not await count_active(tx, sorted(ledger.owners)):
                return
        await asyncio.sleep(LOOK_SECONDS)
