"""The list of conversations: finding, naming, leaving and deleting them."""

from __future__ import annotations

import re

import pytest
from anyio import Path as AsyncPath
from playwright.async_api import expect

from tests.fixtures.service import Service
from tests.page.chat import Chat

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

HIDE = """hidden => {
    const say = (name, value) =>
        Object.defineProperty(document, name, { value, configurable: true });
    say("hidden", hidden);
    say("visibilityState", hidden ? "hidden" : "visible");
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Headless, no page is ever hidden by another."""


async def test_a_new_conversation_begins_and_the_old_one_is_a_click_away(chat: Chat) -> None:
    await chat.ask("say one fish", "one fish")
    await chat.page.get_by_role("link", name="New conversation").click()
    await expect(chat.page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    await chat.ask("say two fish", "two fish")
    await expect(chat.rows).to_have_count(2)
    await chat.row("say one fish").get_by_role("link").click()
    await expect(chat.answers.last).to_contain_text("one fish")
    await expect(chat.row("say one fish").get_by_role("link")).to_have_attribute(
        "aria-current", "page"
    )
    await chat.page.go_back()
    await expect(chat.answers.last).to_contain_text("two fish")


async def test_an_example_is_sent_by_one_click(chat: Chat) -> None:
    await chat.page.get_by_role("button", name="What is on my list?").click()
    await expect(chat.said).to_contain_text("What is on my list?")
    await expect(chat.answers.last).to_contain_text("You said")


async def test_a_conversation_is_renamed_in_place(chat: Chat) -> None:
    await chat.ask("say hello", "hello")
    await chat.options("say hello", "Rename")
    title = chat.page.get_by_role("textbox", name="Title")
    await title.fill("Greetings")
    await title.press("Enter")
    await expect(chat.row("Greetings")).to_have_count(1)
    await expect(chat.page.get_by_role("heading", name="Greetings")).to_be_visible()
    await chat.page.get_by_role("heading", name="Greetings").get_by_role("button").click()
    await title.fill("Never mind")
    await title.press("Escape")
    await chat.page.reload()
    await expect(chat.row("Greetings")).to_have_count(1)


async def test_a_conversation_is_deleted_once_it_is_confirmed(chat: Chat) -> None:
    await chat.ask("say goodbye", "goodbye")
    await chat.options("say goodbye", "Delete")
    dialog = chat.page.get_by_role("dialog", name="Delete this conversation?")
    await expect(dialog).to_contain_text("say goodbye")
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    await chat.page.keyboard.press("Escape")
    await expect(chat.row("say goodbye")).to_have_count(1)
    await chat.options("say goodbye", "Delete")
    await dialog.get_by_role("button", name="Delete").click()
    await expect(chat.row("say goodbye")).to_have_count(0)
    await expect(chat.page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    await chat.page.go_back()
    await chat.page.reload()
    await expect(chat.row("say goodbye")).to_have_count(0)


async def test_one_that_is_deleted_elsewhere_is_gone_at_once(chat: Chat, service: Service) -> None:
    await chat.ask("say hello", "hello")
    await service.client.delete(f"/api/chat/conversations/{await chat.conversation()}")
    await expect(
        chat.page.get_by_role("heading", name="There is no such conversation")
    ).to_be_visible()
    await chat.page.get_by_role("button", name="Start a new one").click()
    await expect(chat.page.get_by_role("heading", name="What can I do for you?")).to_be_visible()


async def test_a_conversation_can_be_taken_along(chat: Chat) -> None:
    await chat.ask("say to be kept", "to be kept")
    async with chat.page.expect_download() as started:
        await chat.options("say to be kept", "Export as Markdown")
    download = await started.value
    assert download.suggested_filename.endswith(".md")
    assert "to be kept" in await AsyncPath(await download.path()).read_text()


async def test_what_was_said_is_found(chat: Chat) -> None:
    await chat.ask("say the plants need water", "plants")
    await chat.page.get_by_role("link", name="New conversation").click()
    await chat.page.get_by_role("heading", name="What can I do for you?").click()
    await chat.page.keyboard.press("/")
    search = chat.page.get_by_role("searchbox")
    await expect(search).to_be_focused()
    await search.fill("plants wat")
    results = chat.page.get_by_role("list", name="Search results").get_by_role("listitem")
    await expect(results).to_have_count(2)
    await expect(results.first.locator("mark").first).to_have_text(re.compile("plants|water"))
    await results.first.get_by_role("link").click()
    await expect(chat.answers.last).to_contain_text("the plants need water")
    await search.fill("xylophone")
    await expect(chat.page.get_by_text("Nothing found")).to_be_visible()
    await search.press("Escape")
    await expect(chat.rows).to_have_count(1)


async def test_the_list_goes_on_as_one_scrolls(chat: Chat, service: Service) -> None:
    for number in range(35):
        await service.client.post("/api/chat/conversations", json={"title": f"Number {number}."})
    await chat.page.reload()
    await expect(chat.row("Number 34.")).to_have_count(1)
    await chat.rows.last.scroll_into_view_if_needed()
    await expect(chat.rows).to_have_count(35)
    await expect(chat.row("Number 0.")).to_have_count(1)


async def test_several_answers_run_at_once_and_news_are_marked(
    chat: Chat, service: Service
) -> None:
    await chat.say("gated First and then the rest of it")
    await expect(chat.answers.last).to_contain_text("First")
    first = chat.row("gated First")
    await chat.page.get_by_role("link", name="New conversation").click()
    await expect(first.get_by_text("Answering")).to_have_count(1)
    await chat.ask("say meanwhile", "meanwhile")
    service.stand_in.open_gate()
    await expect(first.get_by_text("New answer")).to_have_count(1)
    await first.get_by_role("link").click()
    await expect(chat.answers.last).to_contain_text("the rest of it")
    await expect(first.get_by_text("New answer")).to_have_count(0)


async def test_the_tab_tells_of_answers_that_came_while_nobody_looked(
    chat: Chat, service: Service
) -> None:
    await chat.say("gated First and then the rest of it")
    await expect(chat.answers.last).to_contain_text("First")
    await chat.page.get_by_role("link", name="New conversation").click()
    await chat.ask("say hello", "hello")
    await chat.page.reload()
    await expect(chat.row("gated First").get_by_text("Answering")).to_have_count(1)
    await expect(chat.answers.last).to_contain_text("hello")
    await chat.page.evaluate(HIDE, True)
    await expect(chat.page).to_have_title("say hello · Parley")
    service.stand_in.open_gate()
    await expect(chat.page).to_have_title("● say hello · Parley")
    await chat.page.evaluate(HIDE, False)
    await expect(chat.page).to_have_title("say hello · Parley")
