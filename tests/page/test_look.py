"""How it looks to eyes, to fingers and to a screen reader. Pictures go to `screenshots/`."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.fixtures.browser import DESKTOP, PHONE, OpenWindow, shoot
from tests.fixtures.processes import ROOT
from tests.fixtures.service import Service
from tests.page.chat import Chat

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

AXE = (ROOT / "web/node_modules/axe-core/axe.min.js").read_text()
ANSWER = """say ## What a plan needs

1. **A goal** that fits on one line
2. Steps, with `owners`

```python
def fib(n: int) -> int:
    # the classic
    return n if n < 2 else fib(n - 1) + fib(n - 2)
```

| step | who | when |
|---|---|---|
| draft | Ann | Monday |
| review | Bob | Friday |

> Read on at https://example.org/plans"""
LOOKS: list[dict[str, Any]] = [
    {"viewport": DESKTOP, "color_scheme": "light"},
    {"viewport": PHONE, "color_scheme": "dark", "has_touch": True, "is_mobile": True},
]


async def flaws(page: Page) -> list[str]:
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run().then(r => r.violations)")
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
        for one in found
    ]


async def expect_fine(page: Page, name: str) -> None:
    await shoot(page, name)
    assert not await flaws(page), name
    assert await page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    ), name


@pytest.mark.parametrize("look", LOOKS, ids=["light", "dark phone"])
async def test_every_state_can_be_seen_used_and_heard(
    open_window: OpenWindow, service: Service, look: dict[str, Any]
) -> None:
    name = f"{look['color_scheme']}-{look['viewport']['width']}"
    narrow = look["viewport"] == PHONE
    window = await open_window(service.url, service.person, reduced_motion="reduce", **look)
    chat = Chat(await window.open())
    page = chat.page
    await expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    await expect_fine(page, f"{name}-empty")
    await chat.composer.fill(ANSWER)
    await chat.send.click()
    await expect(chat.answers.last).to_contain_text("review")
    await chat.idle()
    await expect(chat.answers.last.locator(".hljs-keyword").first).to_be_visible()
    await expect_fine(page, f"{name}-answer")
    await chat.composer.fill('call create_task {"title": "Review Q4 report"}\ncall create_task {}')
    await chat.send.click()
    await expect(chat.answers.last).to_contain_text("Done:")
    await page.get_by_text("create_task").nth(1).click()
    await chat.composer.fill("status 400")
    await chat.send.click()
    await expect(page.get_by_role("button", name="Retry")).to_be_visible()
    await expect_fine(page, f"{name}-tools")
    await chat.composer.fill("gated Thinking about it and more")
    await chat.send.click()
    await expect(chat.answers.last).to_contain_text("Thinking")
    await chat.composer.fill("say next")
    await page.get_by_role("button", name="How to send while an answer runs").click()
    await expect_fine(page, f"{name}-busy")
    await page.keyboard.press("Escape")
    await chat.stop.click()
    await page.get_by_role("button", name="Tasks", exact=True).click()
    await expect(page.get_by_role("complementary")).to_contain_text("Review Q4 report")
    await expect_fine(page, f"{name}-tasks")
    await page.get_by_role("button", name="Close the tasks").click()
    if narrow:
        await page.get_by_role("button", name="Show the list of conversations").click()
        await expect_fine(page, f"{name}-list")
    await page.get_by_role("button", name="Keyboard shortcuts").click()
    await expect_fine(page, f"{name}-help")


async def test_the_way_in_can_be_seen_used_and_heard(
    open_window: OpenWindow, service: Service
) -> None:
    page = await (await open_window(service.url, color_scheme="dark")).open()
    await expect(page.get_by_label("Access token")).to_be_visible()
    await expect_fine(page, "dark-sign-in")


async def test_a_screen_reader_hears_an_answer_once_and_whole(chat: Chat) -> None:
    await expect(chat.page.get_by_role("log")).to_have_count(0)
    await chat.ask("say hello there", "hello there")
    heard = chat.page.locator("[aria-live=polite]", has_text="Assistant: hello there")
    await expect(heard).to_have_count(1)
    await expect(chat.log).to_have_attribute("aria-live", "off")
    await chat.page.reload()
    await expect(chat.answers.last).to_contain_text("hello there")
    await expect(heard).to_have_count(0)


async def test_a_screen_reader_hears_an_answer_that_came_before_the_first_page(
    chat: Chat, service: Service
) -> None:
    go_on = await chat.hold(re.compile(r"/messages\?"))
    await chat.say("say hello there")
    await service.listen(await chat.conversation())
    go_on.set()
    heard = chat.page.locator("[aria-live=polite]", has_text="Assistant: hello there")
    await expect(heard).to_have_count(1)


async def test_a_screen_reader_hears_that_an_answer_failed(chat: Chat) -> None:
    await chat.ask("say hello there", "hello there")
    await chat.say("flaky 500 4 say better now")
    heard = chat.page.locator("div[aria-live=polite]", has_text="The model is unavailable")
    await expect(heard).to_have_count(1)


async def test_the_look_that_was_chosen_stays(chat: Chat) -> None:
    await chat.page.get_by_label("Colours").select_option("dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = await chat.page.evaluate(ground)
    await chat.page.reload()
    await expect(chat.page.get_by_label("Colours")).to_have_value("dark")
    assert await chat.page.evaluate(ground) == dark != "rgb(255, 255, 255)"


async def test_everything_works_by_keys_alone(chat: Chat) -> None:
    await chat.composer.press_sequentially("say by keys")
    await chat.page.keyboard.press("Enter")
    await expect(chat.answers.last).to_contain_text("by keys")
    await chat.page.reload()
    await expect(chat.answers.last).to_contain_text("by keys")
    await expect(chat.composer).to_be_focused()
    options = chat.page.get_by_role("button", name="Options of this conversation")
    for _ in range(12):
        if await options.evaluate("button => button === document.activeElement"):
            break
        await chat.page.keyboard.press("Shift+Tab")
    await expect(options).to_be_focused()
    await chat.page.keyboard.press("Enter")
    await expect(chat.page.get_by_role("menuitem", name="Rename")).to_be_focused()
    await chat.page.keyboard.press("ArrowUp")
    await expect(chat.page.get_by_role("menuitem", name="Delete")).to_be_focused()
    await chat.page.keyboard.press("Enter")
    dialog = chat.page.get_by_role("dialog")
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    await chat.page.keyboard.press("Tab")
    await chat.page.keyboard.press("Enter")
    await expect(chat.rows).to_have_count(0)
