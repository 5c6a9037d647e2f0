"""Tables, for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Row = Sequence[str]


def plain(headings: Row, rows: Iterable[Row]) -> str:
    """Return an aligned table; what looks like a number stands at the right of its column."""
    table = [list(headings), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    table.insert(1, ["-" * width for width in widths])
    return "\n".join(_line(row, widths) for row in table)


def _line(row: Row, widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if _is_number(cell) else cell.ljust(width)
        for cell, width in zip(row, widths, strict=True)
    ]
    return "  ".join(cells).rstrip()


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").isdigit()


def markdown(headings: Row, rows: Iterable[Row]) -> str:
    """Return a Markdown table."""
    table = [headings, ["---"] * len(headings), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table
    )
