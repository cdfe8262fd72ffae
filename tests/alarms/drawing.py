"""Lines over time, as SVG."""

from __future__ import annotations

import html
import math
import time
from typing import NamedTuple

PALETTE = (
    "#3a8f4d", "#e0a100", "#3b6fb6", "#d9622b", "#c4312e", "#7a52a3", "#1f9aa8", "#8a6d3b",
)  # fmt: skip
LEFT, BOTTOM, TOP, LEGEND = 46, 16, 6, 30


class Line(NamedTuple):
    name: str
    points: list[tuple[float, float]]
    """Seconds since 1970, and the value."""
    color: str


class Plane(NamedTuple):
    """What is where in the picture."""

    width: float
    height: float
    began: float
    seconds: float
    most: float

    def x(self, at: float) -> float:
        return LEFT + (at - self.began) / self.seconds * (self.width - LEFT - 8)

    def y(self, value: float) -> float:
        inner = self.height - TOP - BOTTOM - LEGEND
        return TOP + inner * (1 - min(value, self.most) / self.most)


def number(value: float, unit: str, decimals: int | None = None) -> str:
    if math.isnan(value):
        return "NaN"
    match unit:
        case "percentunit" if decimals is not None:
            return f"{value:.{decimals}%}"
        case "short" | "s" if decimals is not None:
            return f"{value:,.{decimals}f}{' s' if unit == 's' else ''}"
        case "percentunit":
            return f"{value:.0%}" if value >= 0.1 or value == 0 else f"{value:.1%}"
        case "bytes":
            return f"{value / 2**20:.0f} MiB"
        case "s" if 0 < value < 1:
            return f"{value * 1000:.3g} ms"
        case "s":
            return f"{value:.3g} s"
        case _:
            return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def chart(
    lines: list[Line],
    *,
    width: float,
    height: float,
    unit: str,
    stacked: bool,
    most: float | None,
    limit: float | None,
    seconds: float,
) -> str:
    """Values that are not known leave a gap. `limit` is drawn in red where it is near enough."""
    shown = _stacked(lines) if stacked else lines
    values = [value for line in shown for _, value in line.points if math.isfinite(value)]
    if not values:
        return "<div style='padding:30px;color:#888;text-align:center'>No data</div>"
    top = most or _round(max([*values, limit * 0.6 if limit else 0.0]))
    plane = Plane(width, height, time.time() - seconds, seconds, top)
    parts = [_grid(plane, unit)]
    parts += [_line(plane, line, filled=stacked) for line in reversed(shown)]
    if limit is not None and limit <= top:
        y = plane.y(limit)
        parts.append(f"<line x1={LEFT} x2={width - 8} y1={y} y2={y} stroke=#c4312e />")
    parts.append(_legend(plane, lines))
    return f"<svg width={width} height={height} font-size=11>{''.join(parts)}</svg>"


def _stacked(lines: list[Line]) -> list[Line]:
    below: dict[float, float] = {}
    found: list[Line] = []
    for line in lines:
        for at, value in line.points:
            below[at] = below.get(at, 0.0) + (value if math.isfinite(value) else 0.0)
        found.append(line._replace(points=[(at, below[at]) for at, _ in line.points]))
    return found


def _round(value: float) -> float:
    """The next of 1, 2 and 5 with noughts."""
    if value <= 0:
        return 1.0
    ten = 10.0 ** math.floor(math.log10(value))
    return next(step * ten for step in (1, 2, 5, 10) if step * ten >= value * 1.001 or step == 10)


def _grid(plane: Plane, unit: str) -> str:
    parts: list[str] = []
    for share in (0.0, 0.5, 1.0):
        y = plane.y(plane.most * share)
        parts.append(f"<line x1={LEFT} x2={plane.width - 8} y1={y} y2={y} stroke=#e4e5e7 />")
        label = html.escape(number(plane.most * share, unit))
        parts.append(f"<text x={LEFT - 4} y={y + 4} text-anchor=end fill=#666>{label}</text>")
    for back in (120, 60, 0):
        x = plane.x(plane.began + plane.seconds - back)
        label = f"-{back} s" if back else "now"
        y = plane.height - LEGEND - 3
        parts.append(f"<text x={x} y={y} text-anchor=end fill=#666>{label}</text>")
    return "".join(parts)


def _line(plane: Plane, line: Line, *, filled: bool) -> str:
    pieces: list[list[tuple[float, float]]] = [[]]
    before: float | None = None
    for at, value in line.points:
        if before is not None and (at - before > 5 or not math.isfinite(value)):
            pieces.append([])
        if math.isfinite(value):
            pieces[-1].append((plane.x(at), plane.y(value)))
        before = at
    return "".join(_piece(plane, piece, line.color, filled=filled) for piece in pieces if piece)


def _piece(plane: Plane, piece: list[tuple[float, float]], color: str, *, filled: bool) -> str:
    if len(piece) == 1:
        x, y = piece[0]
        return f"<circle cx={x:.1f} cy={y:.1f} r=1.5 fill='{color}' />"
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
    drawn = f"<polyline points='{path}' fill=none stroke='{color}' stroke-width=1.5 />"
    if not filled:
        return drawn
    floor = plane.y(0)
    around = f"{piece[0][0]:.1f},{floor:.1f} {path} {piece[-1][0]:.1f},{floor:.1f}"
    white = f"<polygon points='{around}' fill='#fff' />"
    return f"{white}<polygon points='{around}' fill='{color}' fill-opacity=.25 />{drawn}"


def _legend(plane: Plane, lines: list[Line]) -> str:
    """In two rows at most."""
    parts: list[str] = []
    x, y = 8.0, plane.height - LEGEND + 13
    for line in lines:
        width = 22 + 6.0 * len(line.name)
        if x + width > plane.width and x > 8:
            x, y = 8.0, y + 14
        if y > plane.height:
            break
        parts.append(f"<rect x={x} y={y - 8} width=9 height=9 fill='{line.color}' />")
        parts.append(f"<text x={x + 13} y={y}>{html.escape(line.name)}</text>")
        x += width
    return "".join(parts)
