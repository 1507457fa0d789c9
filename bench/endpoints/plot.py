"""Plot of the speed-ups: bars on a logarithmic scale, written without dependencies."""

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

COLOURS = {"postgresql": "#2f6fb2", "sqlite": "#7aa93c"}
WIDTH, LEFT, ROW, BAR = 760, 220, 34, 420
TITLE = "How many times faster our endpoints are than the naive ones"


def draw(times: Mapping[str, Mapping[str, float]]) -> str:
    """SVG of the speed-ups, by database system and endpoint."""
    names = list(next(iter(times.values())))
    most = max(max(each.values()) for each in times.values())
    decades = max(1, math.ceil(math.log10(most)))
    height = ROW * len(names) + 70
    parts = [f"<title>{TITLE}</title>", _box(0, 0, WIDTH, height, "#fff")]
    for number, system in enumerate(times):
        x = LEFT + number * 110
        parts += [_box(x, 10, 12, 12, COLOURS[system]), _text(x + 18, 21, system)]
    for decade in range(decades + 1):
        x = LEFT + BAR * decade // decades
        parts += [
            _box(x, 34, 1, height - 64, "#dde2e7"),
            _text(x, height - 12, f"{10**decade:,} x", "middle"),
        ]
    for number, name in enumerate(names):
        top = 40 + number * ROW
        parts.append(_text(LEFT - 10, top + 17, name, "end"))
        for below, (system, of) in enumerate(times.items()):
            y = top + 2 + below * 13
            length = max(2.0, BAR * math.log10(max(of[name], 1)) / decades)
            digits = 0 if of[name] >= 10 else 1
            parts += [
                _box(LEFT, y, length, 11, COLOURS[system]),
                _text(LEFT + length + 6, y + 10, f"{of[name]:,.{digits}f} x"),
            ]
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    return "\n".join([f'{start} font-family="sans-serif" font-size="12">', *parts, "</svg>", ""])


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    size = f'width="{width:.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{fill}"/>'


def _text(x: float, y: float, content: str, anchor: str = "start") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {where} fill="#222">{escape(content)}</text>'
