"""Whatever the model writes: it is text, and runs, loads and leads nowhere it should not."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Error, Page, expect

from tests.fixtures.browser import OpenWindow
from tests.fixtures.service import Service
from tests.page.chat import Chat

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

PAYLOADS = [
    "<script>window.bad=1</script>",
    "<img src=x onerror=window.bad=1>",
    "<svg onload=window.bad=1></svg>",
    "<iframe src=javascript:window.bad=1></iframe>",
    "<a href=javascript:window.bad=1>click</a>",
    "[click](javascript:window.bad=1)",
    "[click](JaVaScRiPt:window.bad=1)",
    "[click](java\tscript:window.bad=1)",
    "[click](&#106;avascript:window.bad=1)",
    "[click](data:text/html,<script>window.bad=1</script>)",
    "[click](vbscript:window.bad=1)",
    "[click](//evil.test/a)",
    "[click](/api/session)",
    "![see](https://evil.test/secret.png)",
    "![see](//evil.test/secret.png)",
    "![see](data:image/svg+xml,<svg/onload=window.bad=1>)",
    "![see][there]\n\n[there]: https://evil.test/by-reference.png",
    "<https://evil.test/auto>",
    "<javascript:window.bad=1>",
    "<style>body{display:none}</style>",
    "<link rel=stylesheet href=https://evil.test/x.css>",
    "<meta http-equiv=refresh content=0;url=https://evil.test>",
    "<form action=https://evil.test><button>go</button></form>",
    "<base href=https://evil.test/>",
    "<object data=https://evil.test/x></object><embed src=https://evil.test/y>",
    "<div style=background:url(https://evil.test/z)>x</div>",
    "<video src=https://evil.test/v autoplay></video><audio src=https://evil.test/a></audio>",
    "<details open ontoggle=window.bad=1>x</details>",
    "<input autofocus onfocus=window.bad=1>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.bad=1>",
    "<noscript><p title='</noscript><img src=x onerror=window.bad=1>'>",
    "```html\n<img src=x onerror=window.bad=1>\n```",
    "```<img/src=x/onerror=window.bad=1>\ncode\n```",
    '"><img src=x onerror=window.bad=1>',
]
TEXT = "\n\n".join(f"Number {n}: {payload}" for n, payload in enumerate(PAYLOADS)) + "\n\nThe end."
FORBIDDEN = (
    "script, img, iframe, object, embed, link[href*=evil], style, base, form:not(.composer), "
    "video, audio, svg:not(.icon), [style*=evil], [onerror], [onload]"
)


async def expect_harmless(page: Page) -> None:
    """What is looked at is the answer laid out: its plain text, shown before, could do nothing."""
    answer = page.get_by_role("article").last
    await expect(answer.get_by_role("link").first).to_be_visible()
    assert await page.evaluate("window.bad") is None
    assert await answer.locator(FORBIDDEN).count() == 0
    for link in await answer.get_by_role("link").all():
        # Addresses that stand there to be read may be followed, by a click and no other way.
        assert (await link.get_attribute("href") or "").startswith("https://evil.test")
        assert await link.get_attribute("rel") == "noopener noreferrer"
        assert await link.get_attribute("target") == "_blank"


async def test_nothing_hostile_in_an_answer_runs_or_loads(chat: Chat) -> None:
    """The window itself tells at the end whether anything else was asked for anything."""
    await chat.ask(f"say {TEXT}", "The end.")
    await expect_harmless(chat.page)
    await chat.page.reload()
    await expect(chat.answers.last).to_contain_text("The end.")
    await expect_harmless(chat.page)


async def test_html_is_shown_as_it_was_written(chat: Chat) -> None:
    said = "Use <b>bold</b> here.\n\n<div>\nin a block\n</div>\n\n- <i>in a list</i>\n\nThe end."
    await chat.ask(f"say {said}", "The end.")
    for written in ("Use <b>bold</b> here.", "<div> in a block </div>", "<i>in a list</i>"):
        await expect(chat.answers.last).to_contain_text(written)


async def test_nor_where_it_is_cut_at_every_character(chat: Chat) -> None:
    await chat.ask(f"raw {json.dumps(TEXT)}", "The end.")
    await expect_harmless(chat.page)


async def test_nor_in_titles_arguments_results_or_what_the_user_says(
    chat: Chat, service: Service
) -> None:
    hostile = "<img src=x onerror=window.bad=1>"
    conversation = await service.conversation()
    await service.client.put(f"/api/chat/conversations/{conversation}", json={"title": hostile})
    await chat.page.goto(f"{service.url}/c/{conversation}")
    await chat.ask(f"call create_task {json.dumps({'title': hostile})}", "Done:")
    await chat.page.get_by_role("button", name="Tasks", exact=True).click()
    await expect(chat.page.get_by_role("complementary")).to_contain_text(hostile)
    await chat.log.get_by_text("create_task").last.click()
    assert await chat.page.evaluate("window.bad") is None
    assert await chat.page.locator("img, iframe").count() == 0


async def test_the_page_itself_could_not_if_it_wanted_to(
    open_window: OpenWindow, service: Service
) -> None:
    """The policy holds where the page would fail: no string becomes HTML or a script."""
    window = await open_window(service.url, service.person)
    page = await window.open()
    for deed in (
        "() => { document.body.innerHTML = '<img src=x onerror=window.bad=1>'; }",
        "() => { document.createElement('script').text = 'window.bad=1'; }",
        "() => { document.body.insertAdjacentHTML('beforeend', '<b>x</b>'); }",
    ):
        with pytest.raises(Error, match="Trusted"):
            await page.evaluate(deed)
    assert await page.evaluate("window.bad") is None
    window.complaints.clear()
