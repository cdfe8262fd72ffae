"""A worker that dies or freezes at a named step.

`python -m worker.rigged --at STEP --do kill|stop`

For the proof only. It happens once, the first time a turn comes to the step. A frozen one that
is woken again has no heartbeat: nobody tells it that its turn is lost, so that only the fence
stands between it and the rows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal

from shared.db import Database
from shared.settings import Settings
from worker import sweep
from worker.main import main
from worker.steps import Step, rig
from worker.turn import Turns

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def rigged() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", type=Step, required=True, choices=list(Step))
    parser.add_argument("--do", choices=sorted(SIGNALS), required=True)
    asked = parser.parse_args()

    async def reach(step: Step) -> None:
        if step is asked.at:
            rig()
            sweep.renew = no_heartbeat
            os.kill(os.getpid(), SIGNALS[asked.do])

    rig(reach)
    main()


async def no_heartbeat(_: Database, __: Settings, ___: Turns) -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    rigged()
