"""Whether an API process would start with these settings: `python -m api.probe`.

For `parley doctor`. Prints in one line of JSON what is wrong with them; nothing is connected to.
"""

from __future__ import annotations

import sys

import msgspec

from api.app import create_app
from shared.errors import SettingsError
from shared.probed import Probed
from shared.settings import load_settings


def problems() -> list[str]:
    try:
        create_app(load_settings())
    except SettingsError as error:
        return list(error.problems)
    return []


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(Probed(problems=problems())).decode() + "\n")
