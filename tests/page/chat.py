"""What a person does on the page, by the names that a screen reader reads out."""

from __future__ import annotations

import asyncio
import re

from playwright.async_api import Locator, Page, Route, expect

CONVERSATION = re.compile(r"/c/([0-9a-f-]{36})$")


class Chat:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.composer = page.get_by_role("textbox", name="Message")
        self.send = page.get_by_role("button", name="Send", exact=True)
        self.stop = page.get_by_role("button", name="Stop", exact=True)
        self.log = page.get_by_role("log")
        self.said = page.get_by_role("article", name=re.compile("^You"))
        self.answers = page.get_by_role("article", name=re.compile("^Assistant"))
        self.rows = page.get_by_role("navigation").get_by_role("listitem")

    async def say(self, text: str) -> None:
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def ask(self, text: str, answer: str) -> None:
        """Says it and waits for the end of the answer."""
        await self.say(text)
        await expect(self.answers.last).to_contain_text(answer)
        await self.idle()

    async def idle(self) -> None:
        await expect(self.stop).to_have_count(0)

    async def conversation(self) -> str:
        await expect(self.page).to_have_url(CONVERSATION)
        found = CONVERSATION.search(self.page.url)
        assert found is not None
        return found[1]

    async def hold(self, addresses: re.Pattern[str]) -> asyncio.Event:
        """What the page asks for there comes once the event is set."""
        go_on = asyncio.Event()

        async def wait(route: Route) -> None:
            if route.request.method == "GET":
                await go_on.wait()
            await route.continue_()

        await self.page.route(addresses, wait)
        return go_on

    def row(self, title: str) -> Locator:
        return self.rows.filter(has_text=title)

    async def options(self, title: str, choice: str) -> None:
        row = self.row(title)
        await row.hover()
        await row.get_by_role("button", name=re.compile("options", re.I)).click()
        await self.page.get_by_role("menuitem", name=choice).click()

    async def send_as(self, how: str) -> None:
        """What becomes of the answer that runs."""
        await self.page.get_by_role("button", name="How to send while an answer runs").click()
        await self.page.get_by_role("menuitem", name=re.compile(how)).click()
