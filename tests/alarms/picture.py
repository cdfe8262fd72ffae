"""The dashboard, drawn without Grafana: each panel's queries are asked of Prometheus, and what it
says stands where the dashboard has the panel. Only what our dashboard uses is understood.
"""

from __future__ import annotations

import html
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import ViewportSize, async_playwright

from tests.alarms.drawing import PALETTE, Line, chart, number
from tests.alarms.rules import ROOT, hurried
from tests.alarms.stage import SCRAPE_SECONDS, Prometheus, Series
from tests.fixtures.browser import FLAGS, executable

DASHBOARD = ROOT / "deploy/observability/grafana/parley.json"
SECONDS = 150
"""The pictures show so much of the past."""
COLUMN, UNIT, GAP = 52, 30, 6
COLORS = {
    "green": "#3a8f4d",
    "orange": "#d9822b",
    "red": "#c4312e",
    "dark-red": "#7d1a18",
    "blue": "#3b6fb6",
    "gray": "#8a8f98",
}
STYLE = """
body{margin:0;background:#f4f5f5;font:12px sans-serif;color:#222;position:relative}
.panel{position:absolute;background:#fff;border:1px solid #d5d7da;box-sizing:border-box}
.panel h2{font-size:12px;margin:4px 6px 0;white-space:nowrap;overflow:hidden}
.row{position:absolute;font-weight:bold;font-size:13px;padding:6px 4px;box-sizing:border-box}
.stat{display:flex;position:absolute;inset:22px 0 0 0;color:#fff;text-align:center}
.stat div{flex:1;display:flex;flex-direction:column;justify-content:center;font-size:22px}
.stat small{font-size:12px}
"""

Panel = dict[str, Any]


def panels() -> list[Panel]:
    """In their order, with the names of rows among them."""
    found: list[Panel] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def rows_of(wanted: set[int]) -> list[Panel]:
    """The first row, and those in which the wanted panels stand, without gaps between them."""
    rows: list[list[Panel]] = []
    for panel in panels():
        if panel["type"] == "row":
            rows.append([])
        rows[-1].append(panel)
    kept = [row for row in rows if row is rows[0] or any(p["id"] in wanted for p in row)]
    top, found = 0, list[Panel]()
    for row in kept:
        first = row[0]["gridPos"]["y"]
        found += [
            p | {"gridPos": p["gridPos"] | {"y": p["gridPos"]["y"] - first + top}} for p in row
        ]
        top = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in found)
    return found


@dataclass(frozen=True)
class Painter:
    prometheus: Prometheus

    async def page(self, shown: list[Panel]) -> str:
        bodies = [await self._panel(panel) for panel in shown]
        width = 24 * COLUMN
        height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in shown) * UNIT
        size = f"width:{width}px;height:{height}px"
        return f"<meta charset=utf-8><style>{STYLE}</style><body style='{size}'>{''.join(bodies)}"

    async def _panel(self, panel: Panel) -> str:
        at = panel["gridPos"]
        place = (
            f"left:{at['x'] * COLUMN}px;top:{at['y'] * UNIT}px;"
            f"width:{at['w'] * COLUMN - GAP}px;height:{at['h'] * UNIT - GAP}px"
        )
        title = html.escape(panel["title"])
        if panel["type"] == "row":
            return f"<div class=row style='{place}'>{title}</div>"
        body = await (self._stat(panel) if panel["type"] == "stat" else self._lines(panel))
        return (
            f"<div class=panel id=panel-{panel['id']} style='{place}'><h2>{title}</h2>{body}</div>"
        )

    async def _stat(self, panel: Panel) -> str:
        defaults = panel["fieldConfig"]["defaults"]
        boxes: list[str] = []
        for target in panel["targets"]:
            for series in await self.prometheus.now(_query(target)):
                text, color = shown_as(float(series["value"][1]), defaults)
                name = (
                    _legend(target, series["metric"]) if target["legendFormat"] != "__auto" else ""
                )
                boxes.append(_box(text, color, name))
        return f"<div class=stat>{''.join(boxes) or _box(defaults['noValue'], 'gray', '')}</div>"

    async def _lines(self, panel: Panel) -> str:
        found = [
            (_legend(target, series["metric"]), series["values"])
            for target in panel["targets"]
            for series in await self.prometheus.lately(
                _query(target), seconds=SECONDS, step=SCRAPE_SECONDS
            )
        ]
        painted = _painted(panel)
        lines = [
            Line(
                name,
                [(float(at), float(value)) for at, value in values],
                painted.get(name, PALETTE[index % len(PALETTE)]),
            )
            for index, (name, values) in enumerate(found)
        ]
        defaults = panel["fieldConfig"]["defaults"]
        red = [step["value"] for step in defaults["thresholds"]["steps"] if step["color"] == "red"]
        at = panel["gridPos"]
        return chart(
            lines,
            width=at["w"] * COLUMN - GAP - 2,
            height=at["h"] * UNIT - GAP - 24,
            unit=defaults["unit"],
            stacked=defaults["custom"]["stacking"]["mode"] == "normal",
            most=defaults.get("max"),
            limit=red[0] if red else None,
            seconds=SECONDS,
        )


def _painted(panel: Panel) -> dict[str, str]:
    """Colors that belong to names."""
    colors: dict[str, str] = {}
    for override in panel["fieldConfig"]["overrides"]:
        color: str = override["properties"][0]["value"]["fixedColor"]
        colors[override["matcher"]["options"]] = COLORS.get(color, color)
    return colors


def _query(target: dict[str, Any]) -> str:
    """What Grafana would put in: a rate over four looks."""
    return hurried(target["expr"].replace("$__rate_interval", f"{4 * SCRAPE_SECONDS * 15}s"))


def _legend(target: dict[str, Any], labels: Series) -> str:
    text: str = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def _box(text: str, color: str, name: str) -> str:
    small = f"<small>{html.escape(name)}</small>" if name else ""
    return f"<div style='background:{COLORS[color]}'>{html.escape(text)}{small}</div>"


def shown_as(value: float, defaults: dict[str, Any]) -> tuple[str, str]:
    """Text and color, as Grafana's mappings and thresholds have it."""
    unknown = value != value
    color, text = "gray", number(value, defaults["unit"], defaults.get("decimals"))
    if not unknown:
        passed = [
            s for s in defaults["thresholds"]["steps"] if s["value"] is None or value >= s["value"]
        ]
        color = passed[-1]["color"]
    for mapping in defaults["mappings"]:
        options = mapping["options"]
        match mapping["type"]:
            case "special" if unknown:
                return options["result"]["text"], options["result"]["color"]
            case "range" if not unknown and options["from"] <= value <= options["to"]:
                return options["result"]["text"], options["result"]["color"]
            case "value" if not unknown and (found := options.get(f"{value:g}")):
                return found["text"], found["color"]
            case _:
                pass
    return text, color


class Camera:
    """Makes a PNG of panels as they are now. `async with`."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._painter = Painter(prometheus)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Camera:
        playwright = await self._stack.enter_async_context(async_playwright())
        self._browser = await playwright.chromium.launch(
            executable_path=executable(), args=[*FLAGS]
        )
        self._stack.push_async_callback(self._browser.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def shoot(self, shown: list[Panel], to: Path) -> None:
        height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in shown) * UNIT
        size: ViewportSize = {"width": 24 * COLUMN, "height": height}
        page = await self._browser.new_page(viewport=size)
        await page.set_content(await self._painter.page(shown))
        to.parent.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=to)
        await page.close()
