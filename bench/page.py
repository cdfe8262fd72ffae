"""What the page costs: `python -m bench.page`.

How many bytes of script the first view loads (gzip, as sent), when it is first painted, how long it
takes from the click on Send to the first streamed word, and whether typing stays smooth while 200
messages with code are shown and one more is streamed at 100 tokens a second. Targets: 80 KB, and
no frame over 50 ms. `make web` builds what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import (
    Browser,
    BrowserContext,
    Page,
    Response,
    async_playwright,
    expect,
)
from rich.console import Console
from rich.table import Table

from bench.figures import place_of_a_stack
from cli.verify.stack import Stack
from tests.fixtures.browser import DESKTOP, FLAGS, executable

OWNER = "bench"
CONVERSATIONS = "/api/chat/conversations"
TURNS = 100
TOKENS = 600
CODE = "Here:\n\n```python\ndef f(n):\n    return [i * 2 for i in range(n)]\n```\n\nand **so** on."
SETTINGS = {"PARLEY_ENV": "development", "PARLEY_LIMIT_QUEUED_TURNS": "0"}
FIRST_PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
  const found = list.getEntriesByName("first-contentful-paint")[0];
  if (found) done(found.startTime);
}).observe({ type: "paint", buffered: true }))"""
# The time between two frames, as long as it runs; a frame that takes long makes the gap long.
WATCH = """() => {
  const gaps = (window.gaps = []); let last = performance.now();
  const tick = (now) => { gaps.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
  window.tasks = [];
  new PerformanceObserver((list) => list.getEntries().forEach((e) => window.tasks.push(e.duration)))
    .observe({ type: "longtask" });
}"""
CLICK_TO_WORD = """() => new Promise((done) => {
  const began = performance.now();
  const seen = () => /Quick/.test(document.querySelector("main").innerText
    .replace(/say Quick/g, "")) && done(performance.now() - began);
  new MutationObserver(seen)
    .observe(document.body, { subtree: true, childList: true, characterData: true });
  document.querySelector('button[type="submit"]').click();
})"""


async def opened(context: BrowserContext, url: str) -> tuple[Page, dict[str, int]]:
    """A page that can be typed into, and the bytes of each script it took."""
    page, answers = await context.new_page(), list[Response]()
    # Playwright puts a mark on what it is given, which a method of a list doesn't take.
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108
    await page.goto(url)
    await page.get_by_role("textbox", name="Message").wait_for()
    scripts = [answer for answer in answers if answer.request.resource_type == "script"]
    sizes = {answer.url: (await answer.request.sizes())["responseBodySize"] for answer in scripts}
    return page, sizes


async def first_load(browser: Browser, url: str, token: str, rounds: int) -> list[tuple[str, str]]:
    paints: list[float] = []
    words: list[float] = []
    scripts: dict[str, int] = {}
    for _ in range(rounds):
        context = await signed_in(browser, url, token)
        page, scripts = await opened(context, url)
        paints.append(await page.evaluate(FIRST_PAINT))
        await page.get_by_role("textbox", name="Message").fill("say Quick as a fox")
        words.append(await page.evaluate(CLICK_TO_WORD))
        await context.close()
    return [
        ("script of the first view, gzip", f"{sum(scripts.values()) / 1000:.1f} KB"),
        ("first paint, median", f"{statistics.median(paints):.0f} ms"),
        (
            "click to first streamed word, new conversation, median",
            f"{statistics.median(words):.0f} ms",
        ),
    ]


async def typing(browser: Browser, url: str, token: str) -> list[tuple[str, str]]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        begun = (await client.post(CONVERSATIONS, json={})).json()
        path = f"{CONVERSATIONS}/{begun['id']}/messages"
        for number in range(TURNS):
            said = {"content": f"say {number}: {CODE}"}
            (await client.post(path, json=said, params={"wait": 30})).raise_for_status()
        context = await signed_in(browser, url, token)
        page, _ = await opened(context, f"{url}/c/{begun['id']}")
        await everything_shown(page)
        line = " ".join(f"word{number}" for number in range(TOKENS))
        await client.post(path, json={"content": f"slow 10 {CODE}\n\n{line}"})
        await page.get_by_text("word5 ").last.wait_for()
        box = page.get_by_role("textbox", name="Message")
        await box.focus()
        await page.evaluate(WATCH)
        await page.keyboard.type("The quick brown fox jumps over the dog. " * 3, delay=30)
        gaps: list[float] = await page.evaluate("window.gaps")
        tasks: list[float] = await page.evaluate("window.tasks")
        await context.close()
    return [
        ("messages shown while one streams", str(2 * TURNS)),
        ("frames while typing", str(len(gaps))),
        (
            "frame, p99 / longest",
            f"{statistics.quantiles(gaps, n=100)[-1]:.0f} / {max(gaps):.0f} ms",
        ),
        ("tasks over 50 ms", f"{len(tasks)} (longest {max(tasks, default=0):.0f} ms)"),
    ]


async def everything_shown(page: Page) -> None:
    """By looking back to the beginning: older messages come by themselves."""
    articles = page.get_by_role("article")
    log = page.get_by_role("region", name="Conversation", exact=True)
    while (before := await articles.count()) < 2 * TURNS:
        await log.evaluate("log => { log.scrollTop = 0 }")
        await expect(articles).not_to_have_count(before)


async def signed_in(browser: Browser, url: str, token: str) -> BrowserContext:
    viewport: Any = DESKTOP
    context = await browser.new_context(viewport=viewport)
    headers = {"Authorization": f"Bearer {token}", "Origin": url}
    answer = await context.request.post(f"{url}/api/session", headers=headers)
    assert answer.status == 201
    return context


async def measure(root: Path, rounds: int) -> Table:
    stack = Stack(root, workers=1, apis=1, settings=SETTINGS)
    table = Table("what", "figure")
    try:
        await stack.start()
        url, token = stack.urls()[0], stack.token(OWNER)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=executable(), args=FLAGS)
            for row in await first_load(browser, url, token, rounds):
                table.add_row(*row)
            for row in await typing(browser, url, token):
                table.add_row(*row)
            await browser.close()
    finally:
        await stack.abandon()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    with place_of_a_stack() as place:
        table = asyncio.run(measure(place, rounds))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
