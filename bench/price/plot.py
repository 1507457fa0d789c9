"""Plot of what each adds to a request: bars, written without dependencies."""

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, LEFT, ROW, BAR = 760, 310, 30, 340
OURS, OTHERS = "#2f6fb2", "#9aa7b4"
TITLE = "Processor time that each adds to a request, µs"


def draw(added: Mapping[str, float], file: Path) -> None:
    """Write the plot.

    Args:
        added: Microseconds by name.
        file: An SVG file.
    """
    most = max(added.values())
    height = ROW * len(added) + 50
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f"<title>{TITLE}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="22" fill="#222" font-weight="bold">{TITLE}</text>',
    ]
    for number, (name, each) in enumerate(added.items()):
        top = 36 + number * ROW
        length = max(2.0, BAR * each / most)
        colour = OURS if name.startswith("Vitals") else OTHERS
        parts += [
            (
                f'<text x="{LEFT - 10}" y="{top + 16}" text-anchor="end" fill="#222">'
                f"{escape(name)}</text>"
            ),
            f'<rect x="{LEFT}" y="{top + 3}" width="{length:.1f}" height="18" fill="{colour}"/>',
            f'<text x="{LEFT + length + 8:.1f}" y="{top + 16}" fill="#222">{each:,.0f}</text>',
        ]
    file.write_text("\n".join([*parts, "</svg>", ""]))
