"""Coming in, going out, and a session that ends in between."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.fixtures.browser import OpenWindow
from tests.fixtures.people import Person, make_token
from tests.fixtures.service import Service, StartService
from tests.fixtures.up import Up
from tests.fixtures.waiting import until
from tests.page.chat import Chat

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]


async def enter(page: Page, token: str) -> None:
    await page.get_by_label("Access token").fill(token)
    await page.get_by_role("button", name="Sign in", exact=True).click()


async def is_kept(page: Page, text: str) -> bool:
    return text in await page.evaluate("JSON.stringify({...localStorage})")


async def test_a_token_opens_the_page_and_is_kept_nowhere(
    open_window: OpenWindow, service: Service
) -> None:
    page = await (await open_window(service.url)).open()
    await enter(page, "not a token")
    await expect(page.get_by_role("alert")).to_contain_text("A valid bearer token is required")
    await enter(page, service.person.token)
    await Chat(page).ask("say hello", "hello")
    kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert service.person.token not in kept
    assert service.person.token not in await page.evaluate("document.cookie")


async def test_signing_out_leaves_nothing_for_the_next(chat: Chat, service: Service) -> None:
    await chat.ask("say my secret", "my secret")
    await chat.composer.fill("half a thought")
    await until(lambda: is_kept(chat.page, "half a thought"))
    await chat.page.get_by_role("button", name="Sign out").click()
    await expect(chat.page.get_by_label("Access token")).to_be_visible()
    await chat.page.reload()
    assert not await is_kept(chat.page, "half a thought")
    await expect(chat.page.get_by_label("Access token")).to_be_visible()
    await enter(chat.page, service.person.token)
    await expect(chat.row("say my secret")).to_have_count(1)


async def test_a_session_that_ends_is_begun_again_and_all_goes_on(
    chat: Chat, service: Service
) -> None:
    await chat.say("gated First and then the rest of it")
    await expect(chat.answers.last).to_contain_text("First")
    await chat.composer.fill("half a thought")
    # Nothing else may find out first: the message itself meets the end of the session.
    go_on = await chat.hold(re.compile("/api/chat/"))
    await chat.page.context.clear_cookies()
    await chat.composer.press("Enter")
    dialog = chat.page.get_by_role("dialog", name="Your session has ended")
    await expect(dialog).to_be_visible()
    go_on.set()
    await chat.page.keyboard.press("Escape")
    await expect(dialog).to_be_visible()
    await enter(chat.page, service.person.token)
    await expect(dialog).to_have_count(0)
    service.stand_in.open_gate()
    await expect(chat.said.last).to_contain_text("half a thought")
    await expect(chat.answers).to_have_count(2)
    await expect(chat.answers.first).to_contain_text("the rest of it")


async def test_somebody_else_sees_nothing_of_it(
    chat: Chat, service: Service, open_window: OpenWindow
) -> None:
    await chat.ask("say my secret", "my secret")
    bob = Person("bob", make_token(service.api.settings, "bob"))
    window = await open_window(service.url, bob)
    theirs = Chat(await window.open(f"/c/{await chat.conversation()}"))
    await expect(
        theirs.page.get_by_role("heading", name="There is no such conversation")
    ).to_be_visible()
    await expect(theirs.page.get_by_text("my secret")).to_have_count(0)


async def test_under_parley_up_it_opens_signed_in(running: Up, open_window: OpenWindow) -> None:
    page = await (await open_window(await running.ready())).open()
    chat = Chat(page)
    await chat.ask("say opened by the launcher", "opened by the launcher")
    await expect(page.get_by_text("developer", exact=True)).to_be_visible()
    await page.context.clear_cookies()
    await chat.ask("say again", "again")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Access token")).to_be_visible()
    await page.reload()
    await page.get_by_role("button", name="Sign in on this machine").click()
    await expect(chat.row("say opened by the launcher")).to_have_count(1)


async def test_with_the_launcher_of_another_environment_nobody_is_let_in(
    start_service: StartService, open_window: OpenWindow
) -> None:
    service = await start_service(workers=0)
    page = await (await open_window(service.url)).open()
    await expect(page.get_by_label("Access token")).to_be_visible()
    await expect(page.get_by_role("button", name="Sign in on this machine")).to_have_count(0)
