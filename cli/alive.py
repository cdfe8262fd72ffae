"""`python -m cli.alive`: does the process of this container live? Exits with 0 if so.

It asks the API's port and the worker's port of metrics, whichever is there. Neither looks at the
stores for it: one that is away is no reason to start anew.
"""

from __future__ import annotations

import os
import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

PORTS = (("PARLEY_PORT", "8000"), ("PARLEY_METRICS_PORT", "0"))
SECONDS = 2.0


def answers(port: int, seconds: float = SECONDS) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def main() -> int:
    ports = [int(os.environ.get(name) or default) for name, default in PORTS]
    return 0 if any(answers(port) for port in ports if port) else 1


if __name__ == "__main__":
    sys.exit(main())
