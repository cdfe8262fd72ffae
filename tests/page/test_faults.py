"""Whatever dies on the way: the page says so calmly, and the answer arrives."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.fixtures.browser import OpenWindow, Window
from tests.fixtures.fragile import Fragile
from tests.fixtures.processes import Starter
from tests.fixtures.service import Service, StartService
from tests.page.chat import Chat

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

LAYOUT = "**/assets/Markdown-*"
GATED = "gated First and then the rest of it"


async def watching(window: Window) -> Chat:
    """In the middle of an answer."""
    chat = Chat(await window.open())
    await chat.say(GATED)
    await expect(chat.answers.last).to_contain_text("First")
    return chat


async def expect_whole(chat: Chat) -> None:
    await expect(chat.answers.last).to_contain_text("First and then the rest of it", timeout=30_000)
    await chat.idle()
    await expect(chat.answers).to_have_count(1)
    await expect(chat.said).to_have_count(1)
    text = await chat.answers.last.inner_text()
    assert text.count("the rest of it") == 1


@pytest.fixture
async def service_of_its_own(start_service: StartService) -> Service:
    return await start_service(workers=2, worker={"parley_lease_seconds": 1})


async def test_a_worker_is_killed_while_one_watches(
    service_of_its_own: Service, open_window: OpenWindow
) -> None:
    service = service_of_its_own
    chat = await watching(await open_window(service.url, service.person))
    for worker in service.workers:
        await worker.kill()
    await service.another_worker()
    await expect(chat.log).to_contain_text(re.compile("Attempt 2"))
    service.stand_in.open_gate()
    await expect_whole(chat)
    await expect(chat.log.get_by_text("Attempt 2")).to_have_count(0)


async def test_the_api_is_restarted_while_one_watches(
    service_of_its_own: Service, open_window: OpenWindow, starter: Starter
) -> None:
    service = service_of_its_own
    chat = await watching(await open_window(service.url, service.person))
    await service.api.kill()
    await expect(chat.page.get_by_text("The connection was lost")).to_be_visible()
    await chat.say("say second")
    await expect(chat.said.last).to_contain_text("say second")
    service.api = await starter.api(service.api.settings)
    await expect(chat.page.get_by_text("The connection was lost")).to_have_count(0)
    service.stand_in.open_gate()
    await expect(chat.answers.first).to_contain_text("First and then the rest of it")
    await expect(chat.answers.last).to_contain_text("second")
    await expect(chat.said).to_have_count(2)
    await expect(chat.answers).to_have_count(2)


async def test_an_answer_whose_layout_cannot_be_loaded_is_shown_as_plain_text(
    service: Service, open_window: OpenWindow
) -> None:
    page = await (await open_window(service.url, service.person)).open()
    await page.route(LAYOUT, lambda route: route.abort("connectionrefused"))
    chat = Chat(page)
    await chat.say("say some **bold** words")
    await expect(page.get_by_text("Answers are shown as plain text")).to_be_visible()
    await expect(chat.answers.last).to_contain_text("some **bold** words")
    await chat.say("say more")
    await expect(chat.answers).to_have_count(2)
    await page.unroute(LAYOUT)
    await page.reload()
    await expect(chat.answers.first.locator("strong")).to_have_text("bold")


async def test_redis_is_killed_while_one_watches(fragile: Fragile, open_window: OpenWindow) -> None:
    service = fragile.service
    chat = await watching(await open_window(service.url, service.person))
    fragile.redis.kill()
    service.stand_in.open_gate()
    await expect_whole(chat)
    await chat.say("say without Redis")
    await expect(chat.said.last).to_contain_text("without Redis")
    fragile.redis.heal()
    await expect(chat.answers.last).to_contain_text("without Redis", timeout=30_000)


async def test_ten_seconds_offline_are_told_and_what_is_said_meanwhile_goes_out_afterwards(
    chat: Chat, service: Service
) -> None:
    await chat.say(GATED)
    await expect(chat.answers.last).to_contain_text("First")
    await chat.page.context.set_offline(True)
    await expect(chat.page.get_by_text("You are offline")).to_be_visible()
    await chat.say("say from the tunnel")
    await expect(chat.log).to_contain_text("it goes out when you are back")
    service.stand_in.open_gate()
    await chat.page.evaluate("new Promise((done) => setTimeout(done, 10_000))")
    await expect(chat.page.get_by_text("You are offline")).to_be_visible()
    await chat.page.context.set_offline(False)
    await expect(chat.page.get_by_text("You are offline")).to_have_count(0)
    await expect(chat.answers.first).to_contain_text("the rest of it")
    await expect(chat.answers.last).to_contain_text("from the tunnel")
    await expect(chat.said).to_have_count(2)


async def test_what_was_said_offline_outlives_a_closed_tab(chat: Chat, service: Service) -> None:
    await chat.ask("say hello", "hello")
    address = chat.page.url
    await chat.page.context.set_offline(True)
    await chat.say("say once only")
    await expect(chat.said.last).to_contain_text("once only")
    await chat.page.close()
    await chat.page.context.set_offline(False)
    again = Chat(await chat.page.context.new_page())
    await again.page.goto(address)
    await expect(again.answers.last).to_contain_text("once only")
    assert [m["content"] for m in (await service.messages(address[-36:]))["messages"]].count(
        "say once only"
    ) == 1
