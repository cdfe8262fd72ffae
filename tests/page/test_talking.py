"""Saying something and seeing it answered."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.fixtures.browser import OpenWindow
from tests.fixtures.service import Service
from tests.page.chat import Chat

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

GATED = "gated First and then the rest of it"


async def test_a_message_is_there_at_once_and_its_answer_streams(
    chat: Chat, service: Service
) -> None:
    await chat.say(GATED)
    await expect(chat.said).to_have_count(1)
    await expect(chat.said).to_contain_text(GATED)
    await expect(chat.answers.last).to_contain_text("First")
    await expect(chat.stop).to_be_visible()
    await expect(chat.page.get_by_text("the rest of it", exact=True)).to_have_count(0)
    service.stand_in.open_gate()
    await expect(chat.answers.last).to_contain_text("First and then the rest of it")
    await chat.idle()
    await expect(chat.answers).to_have_count(1)
    await expect(chat.composer).to_have_value("")
    await expect(chat.row("gated First")).to_have_count(1)


async def test_a_message_is_shown_before_the_server_has_it(chat: Chat) -> None:
    await chat.ask("say hello", "hello")
    await chat.page.context.set_offline(True)
    await chat.say("say are you there")
    await expect(chat.said.last).to_contain_text("say are you there")
    await expect(chat.said).to_have_count(2)
    await chat.page.context.set_offline(False)
    await expect(chat.answers.last).to_contain_text("are you there")
    await chat.idle()
    await expect(chat.said).to_have_count(2)


async def test_a_reload_in_the_middle_of_an_answer_loses_and_doubles_nothing(
    chat: Chat, service: Service
) -> None:
    await chat.say(GATED)
    await expect(chat.answers.last).to_contain_text("First")
    await chat.page.reload()
    await expect(chat.answers.last).to_contain_text("First")
    service.stand_in.open_gate()
    await expect(chat.answers.last).to_contain_text("First and then the rest of it")
    await chat.idle()
    text = await chat.log.inner_text()
    assert text.count("and then the rest of it") == 2  # as it was asked, and answered
    await expect(chat.answers).to_have_count(1)


async def test_a_second_tab_sees_the_same(chat: Chat, service: Service) -> None:
    await chat.say(GATED)
    await expect(chat.answers.last).to_contain_text("First")
    other = Chat(await chat.page.context.new_page())
    await other.page.goto(f"{service.url}/c/{await chat.conversation()}")
    await expect(other.answers.last).to_contain_text("First")
    service.stand_in.open_gate()
    for one in (chat, other):
        await expect(one.answers.last).to_contain_text("First and then the rest of it")
    await other.say("say from the other tab")
    await expect(chat.said.last).to_contain_text("say from the other tab")
    for one in (chat, other):
        await expect(one.answers.last).to_contain_text("from the other tab")
        await expect(one.answers).to_have_count(2)


async def test_stop_keeps_what_was_said_and_retry_goes_on(chat: Chat, service: Service) -> None:
    await chat.say(GATED)
    await expect(chat.answers.last).to_contain_text("First")
    await chat.stop.click()
    await chat.idle()
    await expect(chat.answers.last).to_contain_text("First")
    await expect(chat.log).to_contain_text("Stopped")
    service.stand_in.open_gate()
    await chat.page.get_by_role("button", name=re.compile("Retry|Try again")).click()
    await expect(chat.answers.last).to_contain_text("the rest of it")
    await expect(chat.answers.first).to_contain_text("Stopped here. Asked again:")
    await expect(chat.log.get_by_text("Attempt")).to_have_count(0)


async def test_escape_stops(chat: Chat) -> None:
    await chat.say(GATED)
    await expect(chat.answers.last).to_contain_text("First")
    await chat.page.keyboard.press("Escape")
    await expect(chat.log).to_contain_text("Stopped")


async def test_a_failure_says_why_and_can_be_retried(chat: Chat) -> None:
    """The model fails until the retries of one turn are used up, then answers."""
    await chat.say("flaky 500 4 say better now")
    retry = chat.page.get_by_role("button", name=re.compile("Retry|Try again"))
    await expect(retry).to_be_visible()
    await expect(chat.log).to_contain_text(re.compile("model", re.I))
    await retry.click()
    await expect(chat.answers.last).to_contain_text("better now")
    await expect(retry).to_have_count(0)


async def test_while_busy_the_next_message_waits_in_line(chat: Chat, service: Service) -> None:
    await chat.say(GATED)
    await expect(chat.answers.last).to_contain_text("First")
    await chat.say("say second")
    await chat.say("say third")
    await expect(chat.log).to_contain_text(re.compile("2nd in line", re.I))
    service.stand_in.open_gate()
    await expect(chat.answers).to_have_count(3)
    await expect(chat.answers.last).to_contain_text("third")


async def test_while_busy_the_answer_can_be_interrupted(chat: Chat) -> None:
    await chat.say(GATED)
    await expect(chat.answers.last).to_contain_text("First")
    await chat.composer.fill("say something else")
    await chat.send_as("Interrupt")
    await expect(chat.answers.last).to_contain_text("something else")
    await expect(chat.log).to_contain_text("Stopped")


async def test_while_busy_a_word_can_be_handed_to_the_running_answer(
    chat: Chat, service: Service
) -> None:
    """The model calls a tool first, so it is asked again and reads what came meanwhile."""
    await chat.say("gated First and then")
    await expect(chat.answers.last).to_contain_text("First")
    await chat.composer.fill("say steered")
    await chat.send_as("Steer")
    await expect(chat.said.last).to_contain_text("say steered")
    service.stand_in.open_gate()
    await expect(chat.answers.last).to_contain_text("steered")
    await chat.idle()


async def test_older_messages_come_as_one_scrolls_and_nothing_jumps(
    chat: Chat, service: Service
) -> None:
    conversation = await service.conversation()
    for number in range(30):
        await service.say(conversation, f"say number {number}.", wait=30)
    await chat.page.goto(f"{service.url}/c/{conversation}")
    await expect(chat.answers.last).to_contain_text("number 29.")
    await expect(chat.answers.last).to_be_in_viewport()
    await expect(chat.page.get_by_role("article")).to_have_count(50)
    await expect(chat.said.first).to_contain_text("number 5.")
    await chat.said.first.scroll_into_view_if_needed()
    await expect(chat.page.get_by_role("article")).to_have_count(60)
    await expect(chat.said.first).to_contain_text("number 0.")
    await expect(chat.said.filter(has_text="number 5.")).to_be_in_viewport()


async def test_code_is_highlighted_and_can_be_copied(
    open_window: OpenWindow, service: Service
) -> None:
    window = await open_window(
        service.url, service.person, permissions=["clipboard-read", "clipboard-write"]
    )
    chat = Chat(await window.open())
    await chat.ask("say Here:\n\n```python\nfor i in range(3):\n    print(i)\n```\n", "Here:")
    await expect(chat.answers.last.locator("code .hljs-keyword").first).to_have_text("for")
    await chat.answers.last.get_by_role("button", name=re.compile("Copy code")).click()
    await expect(chat.answers.last.get_by_text("Copied", exact=True)).to_be_visible()
    copied = await chat.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == "for i in range(3):\n    print(i)"


async def test_what_is_long_wide_or_a_table_stays_within_the_page(chat: Chat) -> None:
    table = "| a | b |\n|---|---|\n| " + "x" * 400 + " | y |"
    await chat.ask(f"say {table}\n\n{'long' * 200}", "longlong")
    await expect(chat.answers.last.get_by_role("table")).to_have_count(1)
    assert await chat.page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
