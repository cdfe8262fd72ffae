"""Where one writes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.page.chat import Chat

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]


async def test_enter_sends_and_shift_enter_is_a_new_line(chat: Chat) -> None:
    await chat.composer.press_sequentially("say one")
    await chat.composer.press("Shift+Enter")
    await chat.composer.press_sequentially("two")
    before = await chat.composer.evaluate("box => box.clientHeight")
    assert before > 40
    await chat.composer.press("Enter")
    await expect(chat.answers.last).to_contain_text("one two")
    await expect(chat.said).to_have_count(1)


async def test_enter_that_ends_a_composition_sends_nothing(chat: Chat) -> None:
    """As with Japanese: Enter takes the word that is offered."""
    await chat.ask("say hello", "hello")
    client: Any = await chat.page.context.new_cdp_session(chat.page)
    await chat.composer.focus()
    await client.send(
        "Input.imeSetComposition", {"text": "にほん", "selectionStart": 3, "selectionEnd": 3}
    )
    await chat.page.evaluate(
        """() => document.getElementById("composer").dispatchEvent(new KeyboardEvent("keydown",
            { key: "Enter", isComposing: true, bubbles: true, cancelable: true }))"""
    )
    await client.send("Input.insertText", {"text": "日本"})
    await expect(chat.composer).to_have_value("日本")
    await expect(chat.said).to_have_count(1)


async def test_nothing_blank_is_sent(chat: Chat) -> None:
    await expect(chat.send).to_be_disabled()
    await chat.composer.fill("   \n ")
    await expect(chat.send).to_be_disabled()
    await chat.composer.press("Enter")
    await expect(chat.page.get_by_role("heading", name="What can I do for you?")).to_be_visible()


async def test_characters_are_counted_near_the_limit_as_the_server_counts_them(chat: Chat) -> None:
    count = chat.page.locator("#composer-count")
    await chat.composer.fill("x" * 7999)
    await expect(count).to_have_text("")
    await chat.composer.fill("x" * 8000)
    await expect(count).to_have_text("8,000 of 10,000 characters")
    await chat.composer.fill("😀" * 10_000)
    await expect(count).to_have_text("10,000 of 10,000 characters")
    await expect(chat.send).to_be_enabled()
    await chat.composer.fill("😀" * 10_001)
    await expect(count).to_have_text(re.compile("too long"))
    await expect(chat.send).to_be_disabled()
    await chat.composer.press("Enter")
    await chat.composer.fill("😀" * 10_000)
    await chat.composer.press("Enter")
    await expect(chat.said).to_contain_text("😀" * 50)
    await expect(chat.answers.last).to_contain_text("You said")


async def test_a_draft_is_kept_for_each_conversation(chat: Chat) -> None:
    await chat.ask("say hello", "hello")
    await chat.composer.fill("half a thought")
    await chat.page.get_by_role("link", name="New conversation").click()
    await expect(chat.composer).to_have_value("")
    await chat.composer.fill("another")
    await chat.row("say hello").get_by_role("link").click()
    await expect(chat.composer).to_have_value("half a thought")
    await chat.page.reload()
    await expect(chat.composer).to_have_value("half a thought")
    await chat.page.get_by_role("link", name="New conversation").click()
    await expect(chat.composer).to_have_value("another")


async def test_keys_lead_everywhere_and_a_sheet_tells_which(chat: Chat) -> None:
    await chat.ask("say hello", "hello")
    await chat.page.locator("h1").first.hover()
    await chat.log.click()
    await chat.page.keyboard.press("?")
    sheet = chat.page.get_by_role("dialog", name="Keyboard shortcuts")
    await expect(sheet).to_contain_text("New conversation")
    await chat.page.keyboard.press("Escape")
    await expect(sheet).to_have_count(0)
    await chat.page.keyboard.press("Control+Shift+O")
    await expect(chat.page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    await expect(chat.composer).to_be_focused()


async def test_a_key_counts_as_soon_as_the_sheet_is_closed(chat: Chat) -> None:
    await chat.ask("say hello", "hello")
    await chat.log.click()
    await chat.page.keyboard.press("?")
    await expect(chat.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    # The browser tells of the closing with a task of its own: the key comes before that.
    await chat.page.evaluate(
        """async () => {
            document.querySelector("dialog").requestClose();
            for (let turns = 0; turns < 10; turns++) await null;
            const key = { key: "O", ctrlKey: true, shiftKey: true };
            window.dispatchEvent(new KeyboardEvent("keydown", key));
        }"""
    )
    await expect(chat.page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
