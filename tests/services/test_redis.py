"""Redis through TLS, with and without sentinels, and what an operator must allow us."""

# redis-py leaves its commands untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import RedisError

from shared.feed import Feed
from shared.ids import new_id
from shared.jobs import Jobs
from shared.redis import REDIS_ERRORS, end
from shared.settings import Settings
from tests.fixtures.parts import connected
from tests.fixtures.processes import ROOT, free_port
from tests.fixtures.servers import folder
from tests.fixtures.settings import lonely_settings
from tests.fixtures.waiting import until
from tests.services.conftest import Papers
from tests.services.servers import redis_server, rights_of_ours, sentinel

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Secured:
    port: int
    sentinel: int
    papers: Papers

    def settings(
        self, scheme: str = "rediss", *, host: str = "localhost", **changed: str
    ) -> Settings:
        """A parameter that is changed to nothing is left out."""
        parameters = {
            "ssl_ca_certs": str(self.papers.authority),
            "ssl_certfile": str(self.papers.client.certificate),
            "ssl_keyfile": str(self.papers.client.key),
        } | changed
        query = "&".join(f"{name}={value}" for name, value in parameters.items() if value)
        place = f"{self.sentinel}/ours/0" if "sentinel" in scheme else f"{self.port}/0"
        url = f"{scheme}://{host}:{place}?{query}"
        return lonely_settings().model_copy(update={"redis_url": SecretStr(url)})


@pytest.fixture(scope="module")
def secured(papers: Papers) -> Iterator[Secured]:
    """Nothing but TLS is spoken, and a certificate of the same authority is asked for."""
    port, looking = free_port(), free_port()
    tls = (papers.authority, papers.server)
    lines = (
        "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\ntls-replication yes",
        f"sentinel monitor ours localhost {port} 1",
    )
    with ExitStack() as stack:
        place = stack.enter_context(folder())
        stack.enter_context(redis_server(place, port, tls=tls))
        stack.enter_context(sentinel(place, looking, *lines, tls=tls))
        yield Secured(port, looking, papers)


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel"])
async def test_the_feed_and_the_doorbell_go_through_tls(secured: Secured, scheme: str) -> None:
    async with connected(secured.settings(scheme)) as redis:
        feed = Feed(redis)
        listening = asyncio.create_task(feed.listen())
        try:
            await until(lambda: feed.healthy)
            about = new_id()
            async with feed.subscribe(about) as viewer:

                async def is_told() -> bool:
                    # On a slow machine the handshake takes longer than a caller waits.
                    with suppress(*REDIS_ERRORS):
                        await feed.nudge(about)
                    return bool(await viewer.wait(0.5))

                await until(is_told)
            await until(lambda: Jobs(redis).ring(new_id(), "alice"))
        finally:
            await end(listening)


@pytest.mark.parametrize(
    ("changed", "lets_in"),
    [
        ({"host": "127.0.0.1", "ssl_check_hostname": "false"}, True),
        ({"host": "127.0.0.1", "ssl_cert_reqs": "none"}, True),
        # The certificate is made out to another name.
        ({"host": "127.0.0.1"}, False),
        ({"ssl_ca_certs": "other"}, False),
        ({"ssl_certfile": "", "ssl_keyfile": ""}, False),
    ],
)
async def test_who_the_server_is_and_who_we_are_is_looked_at(
    secured: Secured, changed: dict[str, str], lets_in: bool
) -> None:
    if "other" in changed.values():
        changed = {"ssl_ca_certs": str(secured.papers.other_authority)}
    async with connected(secured.settings(**changed)) as redis:
        if lets_in:
            assert await redis.ping()
        else:
            with pytest.raises((RedisError, OSError)):
                await redis.ping()


def test_all_that_our_scripts_ask_of_redis_is_allowed_by_the_documented_rights() -> None:
    allowed = {right[1:] for right in rights_of_ours() if right.startswith("+")}
    asked: set[str] = set()
    for package in ("api", "shared", "worker"):
        for path in Path(ROOT / package).rglob("*.py"):
            asked |= {
                name.lower() for name in re.findall(r"redis\.call\('(\w+)'", path.read_text())
            }
    assert len(asked) > 15
    assert asked <= allowed
