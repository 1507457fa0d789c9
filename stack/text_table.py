"""Tables of text."""

from collections.abc import Collection, Iterable, Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table

_WIDTH = 10_000
"""Where there is no terminal, rich assumes 80 columns and would wrap cells."""


def text_table(
    rows: Iterable[Sequence[object]], head: Sequence[str] = (), *, right: Collection[int] = ()
) -> str:
    """Align columns, two spaces apart.

    Args:
        rows: The rows; all have as many cells.
        head: The titles of the columns; without them there is no header.
        right: Numbers of the columns that are aligned to the right.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(head))
    for number in range(len(head) or max(map(len, cells), default=0)):
        title = head[number] if head else ""
        table.add_column(title, justify="right" if number in right else "left")
    for row in cells:
        table.add_row(*row)
    console = Console(
        file=StringIO(), width=_WIDTH, color_system=None, markup=False, emoji=False, highlight=False
    )
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
