"""The page at /schema: the OpenAPI document as one plain page, without a script or a font."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any

import msgspec
from litestar import MediaType, Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

from api.browsers import API_POLICY
from api.errors import PROBLEM_JSON
from api.wire import Problem

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
code, pre { font: 13px/1.45 ui-monospace, monospace }
pre { background: var(--soft); padding: .75rem; border-radius: 6px; overflow-x: auto }
section { border: 1px solid var(--line); border-radius: 8px; padding: 0 1rem; margin: 1rem 0 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem }
td, th { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0;
  border-top: 1px solid var(--line) }
.verb { display: inline-block; min-width: 4.5rem; font-weight: 700 }
summary { cursor: pointer; padding: .2rem 0 }
nav a { display: block }
"""
_STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()
POLICY = f"{API_POLICY}; style-src 'sha256-{_STYLE_HASH}'"
VERBS = ("get", "post", "put", "patch", "delete")

Json = dict[str, Any]


class Reference(OpenAPIRenderPlugin):
    """The framework's own pages load their scripts from elsewhere; this one needs nothing."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=MediaType.HTML)

    def render(
        self,
        request: Request[Any, Any, Any],  # noqa: ARG002 - the framework's signature
        openapi_schema: Json,
    ) -> bytes:
        return page(openapi_schema).encode()


def page(document: Json) -> str:
    operations = [
        (verb, path, item[verb])
        for path, item in document["paths"].items()
        for verb in VERBS
        if verb in item
    ]
    by_tag = {
        tag["name"]: (tag, [found for found in operations if tag["name"] in found[2]["tags"]])
        for tag in document["tags"]
    }
    info = document["info"]
    parts = [
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info['description'])}</p>",
        '<p>Machines read <a href="/schema/openapi.json">openapi.json</a>. Every route but '
        "<code>/health</code> and <code>/schema</code> takes "
        "<code>Authorization: Bearer &lt;token&gt;</code>, or the cookie of a session.</p>",
        "<nav>",
        *(_link(*found) for found in operations),
        "</nav>",
    ]
    for tag, found in by_tag.values():
        parts += [f"<h2>{escape(tag['name'])}</h2>", f"<p>{escape(tag['description'])}</p>"]
        parts += [_operation(*operation) for operation in found]
    parts += ["<h2>Problems</h2>", "<table>", *_problems(document), "</table>"]
    parts += ["<h2>Schemas</h2>", *map(_schema, document["components"]["schemas"].items())]
    title = escape(info["title"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def _anchor(verb: str, path: str) -> str:
    return escape(f"{verb}-{path}", quote=True)


def _link(verb: str, path: str, operation: Json) -> str:
    return (
        f'<a href="#{_anchor(verb, path)}"><code><span class="verb">{verb.upper()}</span>'
        f"{escape(path)}</code> {escape(operation['summary'])}</a>"
    )


def _operation(verb: str, path: str, operation: Json) -> str:
    rows = "".join(map(_parameter, operation.get("parameters", ())))
    parts = [
        f'<section id="{_anchor(verb, path)}"><h3><code><span class="verb">{verb.upper()}</span>'
        f"{escape(path)}</code></h3>",
        f"<p><b>{escape(operation['summary'])}.</b> {_prose(operation['description'])}</p>",
        f"<table><tr><th>Parameter<th>In<th>Type<th>Meaning</tr>{rows}</table>" if rows else "",
    ]
    if request := operation.get("requestBody"):
        parts.append(f"<h4>Body</h4>{_content(request['content'])}")
    for status, response in operation["responses"].items():
        parts.append(
            f"<details><summary><b>{escape(status)}</b> "
            f"{_prose(response['description'])}</summary>"
            f"{_content(response.get('content', {}))}</details>"
        )
    return "".join([*parts, "</section>"])


def _problems(document: Json) -> list[str]:
    """Where the `type` of a problem leads: its code, status and title."""
    found: dict[str, Problem] = {}
    for item in document["paths"].values():
        for verb in VERBS:
            for response in item.get(verb, {}).get("responses", {}).values():
                shown = response.get("content", {}).get(PROBLEM_JSON, {}).get("examples", {})
                found |= {code: example["value"] for code, example in shown.items()}
    return [
        f'<tr id="problem-{escape(code, quote=True)}"><td><code>{escape(code)}</code>'
        f"<td>{problem.status}<td>{escape(problem.title)}</tr>"
        for code, problem in sorted(found.items())
    ]


def _parameter(parameter: Json) -> str:
    return (
        f"<tr><td><code>{escape(parameter['name'])}</code><td>{escape(parameter['in'])}"
        f"<td>{_type(parameter['schema'])}<td>{_prose(parameter.get('description', ''))}</tr>"
    )


def _content(content: Json) -> str:
    parts: list[str] = []
    for media_type, described in content.items():
        schema = described["schema"]
        samples = [example["value"] for example in described.get("examples", {}).values()]
        samples += schema.get("examples", ())
        parts.append(f"<p><code>{escape(media_type)}</code> {_type(schema)}</p>")
        parts += [
            f"<pre>{_sample(sample)}</pre>" for sample in samples + schema.get("examples", [])
        ]
    return "".join(parts)


def _sample(value: Any) -> str:
    if isinstance(value, str):
        return escape(value)
    return escape(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _schema(named: tuple[str, Json]) -> str:
    name, schema = named
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(key)}</code><td>{_type(value)}"
        f"<td>{'required' if key in required else ''}</tr>"
        for key, value in schema.get("properties", {}).items()
    )
    anchor = escape(name, quote=True)
    body = f"<table>{rows}</table>" if rows else f"<p>{_type(schema)}</p>"
    return f'<section id="{anchor}"><h3>{escape(name)}</h3>{body}</section>'


def _type(schema: Json) -> str:
    if reference := schema.get("$ref"):
        name = str(reference).rsplit("/", 1)[-1]
        return f'<a href="#{escape(name, quote=True)}">{escape(name)}</a>'
    if choices := schema.get("oneOf") or schema.get("anyOf") or schema.get("allOf"):
        return " or ".join(map(_type, choices))
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kinds = [kind] if isinstance(kind, str) else list[str](kind)
    return escape(" or ".join(kinds) + _bounds(schema))


def _bounds(schema: Json) -> str:
    names = ("format", "minimum", "maximum", "minLength", "maxLength", "default")
    found = [f"{name} {schema[name]}" for name in names if name in schema]
    return f" ({', '.join(found)})" if found else ""


def _prose(text: str) -> str:
    """Backquotes become code, as in the descriptions of the document."""
    pieces = escape(text).split("`")
    return "".join(
        f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces)
    )
