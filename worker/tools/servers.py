"""Which MCP servers there are, from the settings. What stands there is all we ever connect to."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from shared.errors import SettingsError
from shared.settings import Environment, Settings

NAME = re.compile(r"[a-z][a-z0-9_-]{0,23}")
MAX_TOOL_NAME = 64
"""Providers take no longer one, and no other characters than these."""
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
_PLACEHOLDER = re.compile(r"\{(owner|env:([A-Za-z_][A-Za-z0-9_]*))\}")
_FIELD = re.compile(r"[a-zA-Z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")
TRANSPORTS_OWN = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "accept"}
)

Seconds = Annotated[float, Meta(gt=0, le=600)]


class UnfitValueError(Exception):
    """What a template makes of this owner can't be sent."""


class _Server(Struct, frozen=True, forbid_unknown_fields=True, tag_field="transport", kw_only=True):
    name: str
    tools: list[str]
    """Those that the model may see; no others."""
    idempotent: list[str] = []
    """Doing it twice with one key does it once."""
    approval: list[str] = []
    """To be approved by the owner, each time."""
    timeout_seconds: Seconds = 20.0

    def shown(self, tool: str) -> str:
        """The tool's name as models see it: always with its server's, so that none is ambiguous."""
        return f"{self.name}__{_UNFIT.sub('_', tool)}"


class HttpServer(_Server, frozen=True, tag="http"):
    url: str
    headers: dict[str, str] = {}

    def headers_for(self, owner: str, environment: Mapping[str, str]) -> dict[str, str]:
        """Raises UnfitValueError."""
        found = {name: filled(value, owner, environment) for name, value in self.headers.items()}
        if not all(_VALUE.fullmatch(value) for value in found.values()):
            raise UnfitValueError
        return found


class StdioServer(_Server, frozen=True, tag="stdio"):
    command: Annotated[list[str], Meta(min_length=1)]
    env: dict[str, str] = {}

    def env_for(self, owner: str, environment: Mapping[str, str]) -> dict[str, str]:
        """Raises UnfitValueError."""
        found = {name: filled(value, owner, environment) for name, value in self.env.items()}
        if any("\0" in value for value in found.values()):
            raise UnfitValueError
        return found


Server = HttpServer | StdioServer


class _Servers(Struct, frozen=True, forbid_unknown_fields=True):
    servers: list[Any]


def filled(template: str, owner: str, environment: Mapping[str, str]) -> str:
    """With `{owner}` and `{env:NAME}` replaced, once: what is put in is never looked into."""
    return _PLACEHOLDER.sub(lambda m: environment[m[2]] if m[2] else owner, template)


def load_servers(
    settings: Settings, environment: Mapping[str, str] = os.environ
) -> tuple[Server, ...]:
    """Raises SettingsError that names every problem and the server it is about, never a value."""
    source, text = _source(settings)
    if not text:
        return ()
    try:
        given = msgspec.json.decode(text, type=_Servers).servers
    except msgspec.DecodeError:
        raise SettingsError([f'{source}: not JSON of the form {{"servers": […]}}']) from None
    problems: list[str] = []
    servers: list[Server] = []
    for place, value in enumerate(given, start=1):
        try:
            server = msgspec.convert(value, Server)
            found = _problems_of(server, settings, environment)
            servers.append(server)
        except msgspec.ValidationError as error:
            # It names fields and types; of what can be secret it repeats nothing.
            found = [str(error)]
        problems += [f"{source}: server {_name_of(value, place)}: {problem}" for problem in found]
    twice = _twice([server.name for server in servers])
    problems += [f"{source}: server {name}: the name is there twice" for name in twice]
    if problems:
        raise SettingsError(problems)
    return tuple(servers)


def _source(settings: Settings) -> tuple[str, str]:
    """The name of the setting, and what it says."""
    text, file = settings.parley_mcp_servers.get_secret_value(), settings.parley_mcp_file
    if text and file:
        raise SettingsError(["PARLEY_MCP_SERVERS, PARLEY_MCP_FILE: set only one of them"])
    if not file:
        return "PARLEY_MCP_SERVERS", text
    try:
        return "PARLEY_MCP_FILE", Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"PARLEY_MCP_FILE: {type(error).__name__}"]) from None


def _name_of(value: Any, place: int) -> str:
    name = value.get("name") if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return name if isinstance(name, str) and NAME.fullmatch(name) else f"number {place}"


def _problems_of(server: Server, settings: Settings, environment: Mapping[str, str]) -> list[str]:
    problems: list[str] = []
    if not NAME.fullmatch(server.name) or "__" in server.name:
        problems.append("a name is up to 24 of a-z, 0-9, - and _, and begins with a letter")
    if not server.tools:
        problems.append("`tools` names none")
    shown = [server.shown(tool) for tool in server.tools]
    problems += [f"the tool name {name} is there twice" for name in _twice(shown)]
    problems += [f"the tool name {name} is too long" for name in shown if len(name) > MAX_TOOL_NAME]
    for field, named in (("idempotent", server.idempotent), ("approval", server.approval)):
        if set(named) - set(server.tools):
            problems.append(f"`{field}` names what `tools` doesn't")
    templates = server.headers if isinstance(server, HttpServer) else server.env
    for name, template in templates.items():
        missing = {m[2] for m in _PLACEHOLDER.finditer(template) if m[2]} - environment.keys()
        problems += [f"{name}: the environment has no {variable}" for variable in sorted(missing)]
        if not missing and "\n" in filled(template, "", environment):
            problems.append(f"{name}: its value has more than one line")
    if isinstance(server, HttpServer):
        problems += _problems_of_http(server, settings)
    return problems


def _problems_of_http(server: HttpServer, settings: Settings) -> list[str]:
    problems = [
        f"{name!r} is no header that can be set"
        for name in server.headers
        if not _FIELD.fullmatch(name) or name.lower() in TRANSPORTS_OWN
    ]
    try:
        url = urlsplit(server.url)
        host, _ = url.hostname or "", url.port
    except ValueError:
        return [*problems, "`url` is not a URL"]
    if url.scheme not in {"http", "https"} or not host:
        problems.append("`url` is not an http(s) URL")
    elif url.username is not None or url.password is not None or url.fragment:
        problems.append("`url` must have no user, password or fragment: use `headers`")
    elif url.scheme == "http" and not _may_be_plain(host, settings):
        problems.append("`url` must be https, unless it is this machine")
    return problems


def _may_be_plain(host: str, settings: Settings) -> bool:
    if settings.parley_env is Environment.development or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _twice(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
