"""The built page as the API serves it."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from httpx import AsyncClient

from api.app import create_app
from shared.settings import Settings
from tests.api.talk import expect_problem
from tests.fixtures.http import speaking

pytestmark = pytest.mark.anyio

SCRIPT = b"console.log('a script of the build');\n" * 50
INDEX = b'<!doctype html><script type="module" src="/assets/index-4f2a.js"></script>'


@pytest.fixture
async def visitor(alone: Settings, tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """Nobody in particular; and there is neither Postgres nor Redis."""
    (tmp_path / "page/assets").mkdir(parents=True)
    (tmp_path / "page/index.html").write_bytes(INDEX)
    (tmp_path / "page/favicon.svg").write_bytes(b"<svg/>")
    (tmp_path / "page/.built").write_bytes(b"how it was made")
    (tmp_path / "page/assets/index-4f2a.js").write_bytes(SCRIPT)
    (tmp_path / "secret.js").write_bytes(b"secret")
    async with speaking(create_app(alone, tmp_path / "page")) as found:
        yield found


async def test_the_page_is_there_for_everybody_and_at_the_address_of_each_conversation(
    visitor: AsyncClient,
) -> None:
    for path in ("/", "/c/019caf3e-2f40-7a51-8c1d-0b6f5e2d9a10"):
        answer = await visitor.get(path)
        assert (answer.status_code, answer.content) == (200, INDEX)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        again = await visitor.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_it_may_run_scripts_of_the_build_and_nothing_else(visitor: AsyncClient) -> None:
    policy = (await visitor.get("/")).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("img-src") == "'self' data:"
    assert {rules.pop(f"{kind}-src") for kind in ("script", "style", "connect", "font")} == {
        "'self'"
    }
    assert (rules.pop("require-trusted-types-for"), rules.pop("trusted-types")) == (
        *("'script'", "'none'"),
    )
    assert set(rules) == {"default-src", "base-uri", "form-action", "frame-ancestors"}
    assert set(rules.values()) == {"'none'"}


async def test_a_file_of_the_build_is_kept_for_ever_and_sent_packed(visitor: AsyncClient) -> None:
    answer = await visitor.get("/assets/index-4f2a.js", headers={"Accept-Encoding": "gzip"})
    assert answer.content == SCRIPT
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(gzip.compress(SCRIPT, 9, mtime=0))
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["vary"] == "Accept-Encoding"
    plain = await visitor.get("/assets/index-4f2a.js", headers={"Accept-Encoding": "identity"})
    assert (plain.content, "content-encoding" in plain.headers) == (SCRIPT, False)


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        *(("gzip", True), ("br, GZIP ;q=0.5", True), ("gzip;q=1.0", True)),
        *(("", False), ("br", False), ("gzip;q=0", False), ("gzip; q=0.000, br", False)),
    ],
)
async def test_it_is_packed_for_those_who_take_it(
    visitor: AsyncClient, accepted: str, packed: bool
) -> None:
    answer = await visitor.get("/", headers={"Accept-Encoding": accepted})
    assert (answer.content, "content-encoding" in answer.headers) == (INDEX, packed)


async def test_of_several_that_a_browser_has_one_may_be_the_newest(visitor: AsyncClient) -> None:
    newest = (await visitor.get("/")).headers["etag"]
    for known, status in ((f'"older", {newest}', 304), ('"older"', 200), ("", 200)):
        answer = await visitor.get("/", headers={"If-None-Match": known})
        assert answer.status_code == status


async def test_head_says_what_get_would(visitor: AsyncClient) -> None:
    for path in ("/", "/assets/index-4f2a.js", "/favicon.svg"):
        head, get = await visitor.head(path), await visitor.get(path)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-type", "content-length", "cache-control", "etag"):
            assert head.headers[name] == get.headers[name]


async def test_opening_the_page_counts_for_no_limit(alone: Settings, tmp_path: Path) -> None:
    few = alone.model_copy(update={"parley_limit_address_requests_per_minute": 3})
    async with speaking(create_app(few, tmp_path)) as visitor:
        answers = [await visitor.get("/") for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}


async def test_nothing_else_of_the_disk_is_there(visitor: AsyncClient) -> None:
    for path in (
        "/assets/none.js",
        "/assets/secret.js",
        "/assets/%2e%2e",
        "/assets/..%5csecret.js",
    ):
        expect_problem(await visitor.get(path), 404, "not_found")
    for path in ("/.built", "/assets/../../secret.js", "/assets/%2e%2e%2fsecret.js", "/secret.js"):
        expect_problem(await visitor.get(path), 401, "unauthorized")


async def test_a_page_that_was_not_built_says_so(alone: Settings, tmp_path: Path) -> None:
    async with speaking(create_app(alone, tmp_path / "nothing")) as visitor:
        answer = await visitor.get("/")
        assert answer.status_code == 200
        assert "make web" in answer.text
        expect_problem(await visitor.get("/favicon.svg"), 404, "not_found")
