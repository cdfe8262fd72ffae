"""A worker that dies or freezes at a named step.

`python -m worker.rigged --at STEP --do kill|stop`

For the proof only. It happens once, the first time a turn comes to the step.
"""

from __future__ import annotations

import argparse
import os
import signal

from worker.main import main
from worker.steps import Step, rig

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def rigged() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", type=Step, required=True, choices=list(Step))
    parser.add_argument("--do", choices=sorted(SIGNALS), required=True)
    asked = parser.parse_args()

    async def reach(step: Step) -> None:
        if step is asked.at:
            rig()
            os.kill(os.getpid(), SIGNALS[asked.do])

    rig(reach)
    main()


if __name__ == "__main__":
    rigged()
