"""What the agent does is seen as it does it."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect
from pydantic import SecretStr

from tests.fixtures.browser import OpenWindow
from tests.fixtures.elsewhere import Elsewhere
from tests.fixtures.service import Service, StartService
from tests.page.chat import Chat

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]


async def test_a_tool_becomes_a_card_with_what_it_was_given_and_what_it_gave(chat: Chat) -> None:
    await chat.ask('call create_task {"title": "Review Q4 report"}', "Done:")
    card = chat.log.get_by_role("group").filter(has_text="create_task")
    await expect(card).to_contain_text("“Review Q4 report”")
    await expect(card.get_by_role("heading", name="Arguments")).not_to_be_visible()
    await card.get_by_text("create_task").click()
    await expect(card.get_by_role("heading", name="Arguments")).to_be_visible()
    await expect(card).to_contain_text("Result")
    await expect(card).to_contain_text(" ms")


async def test_several_tools_stand_in_the_order_they_were_asked_for(chat: Chat) -> None:
    titles = ("first", "second", "third")
    await chat.ask("\n".join(f'call create_task {{"title": "{t}"}}' for t in titles), "Done:")
    cards = chat.log.get_by_role("group").filter(has_text="create_task")
    await expect(cards).to_have_count(3)
    for place, title in enumerate(titles):
        await expect(cards.nth(place)).to_contain_text(f"“{title}”")


async def test_a_failed_tool_says_so_in_words(chat: Chat) -> None:
    await chat.ask('call create_task {"title": ""}', "Done:")
    card = chat.log.get_by_role("group").filter(has_text="create_task")
    await expect(card).to_have_class("tool failed")
    await card.get_by_text("create_task").click()
    await expect(card.get_by_role("heading", name="What went wrong")).to_be_visible()


async def test_the_task_panel_changes_as_the_agent_works(chat: Chat) -> None:
    await chat.page.get_by_role("button", name="Tasks", exact=True).click()
    panel = chat.page.get_by_role("complementary", name="Tasks")
    await expect(panel).to_contain_text("No tasks yet")
    await chat.ask('call create_task {"title": "Water the plants"}', "Done:")
    await expect(panel.get_by_role("listitem")).to_have_count(1)
    await expect(panel).to_contain_text("Water the plants")
    await chat.page.reload()
    await expect(panel).to_contain_text("Water the plants")


@pytest.fixture
async def asking(
    start_service: StartService, open_window: OpenWindow, elsewhere: Elsewhere
) -> tuple[Chat, Service, Elsewhere]:
    """A chat whose agent has tools elsewhere; one of them asks before it does anything."""
    files = {"name": "files", "transport": "http", "url": elsewhere.url}
    wary = files | {"tools": ["delete"], "approval": ["delete"]}
    worker = {"parley_mcp_servers": SecretStr(json.dumps({"servers": [wary]}))}
    service = await start_service(worker=worker)
    window = await open_window(service.url, service.person)
    return Chat(await window.open()), service, elsewhere


Asking = tuple[Chat, Service, Elsewhere]
ASK = 'call files__delete {"path": "/tmp/old"}'


async def test_a_tool_that_asks_waits_for_a_word(asking: Asking) -> None:
    chat, _, elsewhere = asking
    await chat.say(ASK)
    card = chat.log.get_by_role("group", name="Approval of files__delete")
    await expect(card).to_contain_text("/tmp/old")
    assert not elsewhere.called
    heard = chat.page.locator("div[aria-live=polite]", has_text="wants to use files__delete")
    await expect(heard).to_have_count(1)
    await card.get_by_role("button", name="Approve").click()
    await expect(chat.answers.last).to_contain_text("Done:")
    await expect(chat.log).to_contain_text("Approved")
    await expect(chat.log.get_by_text("Attempt 2")).to_have_count(0)
    assert [one.tool for one in elsewhere.called] == ["delete"]


async def test_what_is_denied_is_not_done_and_the_reason_is_heard(asking: Asking) -> None:
    chat, _, elsewhere = asking
    await chat.say(ASK)
    card = chat.log.get_by_role("group", name="Approval of files__delete")
    reason = card.get_by_role("textbox", name="Reason")
    await reason.fill("I still need it")
    await reason.press("Escape")
    await card.get_by_role("button", name="Deny").click()
    await expect(chat.answers.last).to_contain_text("I still need it")
    await expect(chat.log).to_contain_text("Denied")
    assert not elsewhere.called
