"""A worker whose clock is wrong: `python -m tests.faults.shifted_worker`, off by CLOCK_OFF_BY."""

from __future__ import annotations

import os
import time

OFF_BY = float(os.environ["CLOCK_OFF_BY"])
right, right_ns = time.time, time.time_ns
time.time = lambda: right() + OFF_BY
time.time_ns = lambda: right_ns() + int(OFF_BY * 1e9)

from worker.main import main  # noqa: E402 - whoever imports the clock by name gets the wrong one

if __name__ == "__main__":
    main()
