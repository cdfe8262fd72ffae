"""The events of a stream as schemas: what a client generates its types from."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import msgspec

from shared.events import Event

AT = "#/components/schemas/{name}"


@cache
def event_schemas() -> dict[str, Any]:
    """`Event` is one of the others. In a stream the name stands in the `event:` line, and the
    `data:` line has the other fields.
    """
    union, found = msgspec.json.schema_components([Event], ref_template=AT)
    names = {kind.__name__ for kind in get_args(Event)}
    return {name: schema for name, schema in found.items() if name in names} | {
        "Event": {"title": "Event", **union[0]}
    }
