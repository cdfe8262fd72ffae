"""Requests made from the OpenAPI document: mostly as it says, sometimes not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

Schema = Mapping[str, Any]
Values = st.SearchStrategy[Any]

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
# Of requests that are answered at once: nobody waits here.
NO_WAIT = st.sampled_from([0, "0", "-1", "x", 61, ""])
HEADER = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
CURSORS = st.sampled_from(["0", "1", "1:2", "x", "", "-1", "2026-01-01T00:00:00Z", "9" * 19])


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, Any]
    headers: dict[str, str]
    body: bytes | None


class Document:
    def __init__(self, document: Schema) -> None:
        self._schemas: Schema = document["components"]["schemas"]
        self.operations = [
            (method.upper(), path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
        ]

    def requests(
        self, method: str, path: str, operation: Schema, ids: list[str]
    ) -> st.SearchStrategy[Asked]:
        """`ids` are of things that are there."""
        parameters = operation.get("parameters", ())
        in_path = {p["name"]: self._id(p, ids) for p in parameters if p["in"] == "path"}
        query = {p["name"]: self._parameter(p) for p in parameters if p["in"] == "query"}
        headers = {p["name"]: HEADER | CURSORS for p in parameters if p["in"] == "header"}
        waits = {"wait": query.pop("wait")} if "wait" in query else {}

        def asked(
            names: dict[str, str],
            query: dict[str, Any],
            headers: dict[str, str],
            body: bytes | None,
        ) -> Asked:
            return Asked(method, fill(path, names), query, headers, body)

        return st.builds(
            asked,
            st.fixed_dictionaries(in_path),
            st.fixed_dictionaries(waits, optional=query),
            st.fixed_dictionaries({}, optional=headers),
            self._body(operation),
        )

    def _id(self, parameter: Schema, ids: list[str]) -> Values:
        """Mostly what is there: behind it there is more to go wrong."""
        if parameter["name"] == "user_id":
            return st.sampled_from(["alice", "alice", "alice", "bob"])
        return st.sampled_from(ids * 3) | st.uuids().map(str) | st.text(min_size=1, max_size=8)

    def _parameter(self, parameter: Schema) -> Values:
        if parameter["name"] == "wait":
            return NO_WAIT
        return self._value(parameter["schema"]) | CURSORS | st.text(max_size=12)

    def _body(self, operation: Schema) -> Values:
        if "requestBody" not in operation:
            return st.none()
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        fitting, odd = self._value(schema), ANYTHING.map(encoded)
        return fitting.map(encoded) | fitting.map(encoded) | odd | st.binary(max_size=60)

    def _value(self, schema: Schema) -> Values:
        """What fits the schema, as far as its form goes."""
        if reference := schema.get("$ref"):
            return self._value(self._schemas[str(reference).rsplit("/", 1)[-1]])
        for word in ("oneOf", "anyOf"):
            if word in schema:
                return st.one_of([self._value(choice) for choice in schema[word]])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        return st.one_of([self._of_kind(kind, schema) for kind in kinds]) if kinds else ANYTHING

    def _of_kind(self, kind: str, schema: Schema) -> Values:
        match kind:
            case "object":
                properties: Schema = schema.get("properties", {})
                required = set(schema.get("required", ()))
                values = {name: self._value(found) for name, found in properties.items()}
                return st.fixed_dictionaries(
                    {name: value for name, value in values.items() if name in required},
                    optional={
                        name: value for name, value in values.items() if name not in required
                    },
                )
            case "array":
                return st.lists(self._value(schema.get("items", {})), max_size=3)
            case "string":
                longest = schema.get("maxLength", 60)
                return st.text(min_size=schema.get("minLength", 0), max_size=min(longest, 60))
            case "integer":
                return st.integers(schema.get("minimum"), schema.get("maximum"))
            case "number":
                return st.floats(0, 1)
            case "boolean":
                return st.booleans()
            case _:
                return st.none()


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def fill(path: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", quote(value, safe="").replace(".", "%2E"))
    return path
