"""Refusals are told, panels that lie over the rest are dialogs, and the focus is never lost."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Route, expect

from tests.fixtures.browser import PHONE, OpenWindow
from tests.fixtures.service import Service
from tests.page.chat import Chat

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

LIST = re.compile(r"/api/chat/conversations\?")
PROBLEM = {
    "type": "about:blank",
    "title": "Forbidden",
    "status": 403,
    "code": "forbidden",
    "detail": "The store rests for a moment.",
}


async def refuse(route: Route) -> None:
    await route.fulfill(status=403, json=PROBLEM, content_type="application/problem+json")


async def refuse_changes(chat: Chat) -> None:
    async def look(route: Route) -> None:
        if route.request.method in {"PUT", "DELETE"}:
            await refuse(route)
        else:
            await route.fallback()

    await chat.page.route("**/api/chat/conversations/*", look)


async def test_a_refused_rename_is_told_and_taken_back(chat: Chat) -> None:
    await chat.ask("say hello", "hello")
    await refuse_changes(chat)
    await chat.options("say hello", "Rename")
    title = chat.page.get_by_role("textbox", name="Title")
    await title.fill("Greetings")
    await title.press("Enter")
    await expect(chat.page.get_by_text("The store rests for a moment.")).to_be_visible()
    await expect(chat.row("say hello")).to_have_count(1)
    await expect(chat.row("Greetings")).to_have_count(0)


async def test_a_refused_delete_is_told_and_taken_back(chat: Chat) -> None:
    await chat.ask("say goodbye", "goodbye")
    await refuse_changes(chat)
    await chat.options("say goodbye", "Delete")
    await chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(chat.page.get_by_text("The store rests for a moment.")).to_be_visible()
    await expect(chat.row("say goodbye")).to_have_count(1)


async def test_a_refused_next_page_is_asked_for_again_by_hand(chat: Chat, service: Service) -> None:
    for number in range(35):
        await service.client.post("/api/chat/conversations", json={"title": f"Number {number}."})
    asked: list[str] = []

    async def look(route: Route) -> None:
        asked.append(route.request.url)
        await refuse(route)

    pages = re.compile(r"/api/chat/conversations\?.*cursor=")
    await chat.page.route(pages, look)
    await chat.page.reload()
    await expect(chat.row("Number 34.")).to_have_count(1)
    await chat.rows.last.scroll_into_view_if_needed()
    again = chat.page.get_by_role("button", name="Try again")
    await expect(again).to_be_visible()
    before = len(asked)
    # As many frames as would have asked dozens of times.
    await chat.page.evaluate(
        "new Promise(done => { let n = 60; const f = () => --n ? requestAnimationFrame(f)"
        " : done(); f(); })"
    )
    assert len(asked) == before
    await chat.page.unroute(pages)
    await again.click()
    await expect(chat.rows).to_have_count(35)


async def test_no_number_of_escapes_closes_what_must_be_answered(chat: Chat) -> None:
    await chat.ask("say hello", "hello")
    await chat.page.context.clear_cookies()
    await chat.say("say more")
    dialog = chat.page.get_by_role("dialog", name="Your session has ended")
    await expect(dialog).to_be_visible()
    for _ in range(4):
        await chat.page.keyboard.press("Escape")
    await expect(dialog).to_be_visible()
    await expect(dialog).to_have_js_property("open", True)


async def test_on_a_phone_the_list_is_a_dialog(open_window: OpenWindow, service: Service) -> None:
    window = await open_window(service.url, service.person, viewport=PHONE)
    chat = Chat(await window.open())
    await chat.ask("say hello", "hello")
    opener = chat.page.get_by_role("button", name="Show the list of conversations")
    await opener.click()
    drawer = chat.page.get_by_role("dialog", name="Conversations")
    await expect(drawer).to_be_focused()
    await expect(chat.page.locator(".middle")).to_have_attribute("inert", "")
    await chat.page.keyboard.press("Escape")
    await expect(drawer).to_have_count(0)
    await expect(opener).to_be_focused()
    await expect(chat.answers.last).to_contain_text("hello")


async def test_escape_in_the_list_stops_no_answer(
    open_window: OpenWindow, service: Service
) -> None:
    window = await open_window(service.url, service.person, viewport=PHONE)
    chat = Chat(await window.open())
    await chat.say("gated First and then the rest of it")
    await expect(chat.answers.last).to_contain_text("First")
    await chat.page.get_by_role("button", name="Show the list of conversations").click()
    await chat.page.keyboard.press("Escape")
    await expect(chat.page.get_by_role("dialog")).to_have_count(0)
    service.stand_in.open_gate()
    await expect(chat.answers.last).to_contain_text("the rest of it")


async def test_the_lowest_row_opens_its_options_upwards(chat: Chat, service: Service) -> None:
    for number in range(25):
        await service.client.post("/api/chat/conversations", json={"title": f"Number {number}."})
    await chat.page.reload()
    last = chat.row("Number 0.")
    await last.scroll_into_view_if_needed()
    await last.hover()
    await last.get_by_role("button", name=re.compile("options", re.I)).click()
    await expect(chat.page.get_by_role("menuitem", name="Delete")).to_be_in_viewport(ratio=1)


async def test_what_the_list_has_not_reached_has_its_title(chat: Chat, service: Service) -> None:
    answer = await service.client.post("/api/chat/conversations", json={"title": "The oldest"})
    for number in range(31):
        await service.client.post("/api/chat/conversations", json={"title": f"Number {number}."})
    await chat.page.set_viewport_size({"width": 1280, "height": 400})
    await chat.page.goto(f"{service.url}/c/{answer.json()['id']}")
    await expect(chat.page.get_by_role("heading", name="The oldest")).to_be_visible()
    await expect(chat.page).to_have_title("The oldest · Parley")


async def test_after_a_rename_the_focus_is_where_it_was(chat: Chat) -> None:
    await chat.ask("say hello", "hello")
    heading = chat.page.get_by_role("heading", name="say hello").get_by_role("button")
    await heading.click()
    await chat.page.get_by_role("textbox", name="Title").press("Escape")
    await expect(heading).to_be_focused()


async def test_the_list_shows_that_it_is_on_its_way(chat: Chat) -> None:
    go_on = await chat.hold(LIST)
    await chat.page.reload()
    await expect(chat.page.locator(".sidebar .skeleton").first).to_be_visible()
    go_on.set()
    await expect(chat.page.locator(".sidebar .skeleton")).to_have_count(0)


async def test_a_part_that_cannot_be_loaded_leaves_the_rest(chat: Chat) -> None:
    await chat.page.route(re.compile("TaskPanel"), lambda route: route.abort())
    await chat.page.get_by_role("button", name="Tasks", exact=True).click()
    await expect(chat.page.get_by_text("could not be loaded")).to_be_visible()
    await chat.ask("say it goes on", "it goes on")


async def test_a_title_that_is_written_stays_when_the_list_comes_to_know_it(chat: Chat) -> None:
    await chat.ask("say hello", "hello")
    go_on = await chat.hold(LIST)
    await chat.page.reload()
    await chat.page.get_by_role("heading", name="say hello").get_by_role("button").click()
    title = chat.page.get_by_role("textbox", name="Title")
    await title.fill("Half a na")
    go_on.set()
    await expect(chat.rows).to_have_count(1)
    await expect(title).to_have_value("Half a na")
    await expect(title).to_be_focused()
