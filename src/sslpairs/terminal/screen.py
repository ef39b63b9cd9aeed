"""Output to a terminal, pipe or file: nothing is truncated, and every character can be written."""

import codecs
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Span, Text

LOOKALIKES = {
    **{"±": "+/-", "−": "-", "–": "-", "—": "-", "×": "x", "·": ".", "•": "*", "…": "...", "█": "#", "→": "->"},
    **{"≤": "<=", "≥": ">=", "“": '"', "”": '"', "‘": "'", "’": "'", "│": "|", "─": "-", "✓": "yes"},
}
"""Replacements for characters that the encoding of a terminal lacks."""


def _lookalike(error: UnicodeError) -> tuple[str, int]:
    """Error handler for ``codecs``: replace characters that cannot be written instead of failing."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return LOOKALIKES.get(character) or letters or character.encode("ascii", "backslashreplace").decode()


codecs.register_error("lookalike", _lookalike)


def accept_any_encoding() -> None:
    """Let standard output and standard error of this process accept every character, whatever their encoding."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and stream.errors != "lookalike":
            stream.reconfigure(errors="lookalike")


def writable(item: Any, encoding: str) -> Any:
    """Replace characters that an encoding lacks in a string or ``rich`` renderable. Done before layout, since replacements may be wider."""

    def text(value: str) -> str:
        return value.encode(encoding, "lookalike").decode(encoding)

    if isinstance(item, str):
        return text(item)
    if isinstance(item, Text):
        spans = [Span(len(text(item.plain[:s])), len(text(item.plain[:e])), style) for s, e, style in item.spans]
        return Text(text(item.plain), item.style, justify=item.justify, no_wrap=item.no_wrap, spans=spans)
    if isinstance(item, Group):
        return Group(*(writable(part, encoding) for part in item.renderables))
    if isinstance(item, Padding):
        item.renderable = writable(item.renderable, encoding)
    if isinstance(item, Table):
        item.title = writable(item.title, encoding)
        for column in item.columns:
            column.header = writable(column.header, encoding)
            column._cells = [writable(cell, encoding) for cell in column._cells]
    return item


def _tables(item: Any) -> Iterator[Table]:
    """Yield the tables in a renderable."""
    if isinstance(item, Table):
        yield item
    for part in item.renderables if isinstance(item, Group) else [item.renderable] if isinstance(item, Padding) else []:
        yield from _tables(part)


class Screen(Console):
    """A console that gives tables the width that their words need and never truncates words.

    In a pipe or a file tables have their natural width; on a terminal that is too narrow the terminal breaks the lines.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """Like ``rich.console.Console.print``."""
        objects = tuple(self.shown(item) for item in objects)
        before, width = self._width, max([self.width, *map(self._needed, objects)])
        self._width = width if width > self.width else before
        try:
            super().print(*objects, **options)
        finally:
            self._width = before

    def say(self, text: str, style: str | None = None) -> None:
        """Print text as it is, without markup, as one line that only the terminal breaks."""
        self.print(text, style=style, soft_wrap=True, markup=False)

    def shown(self, item: Any) -> Any:
        """Prepare a renderable for this encoding, with unbroken words and names on one line."""
        for table in _tables(item):
            for column in table.columns:
                column.overflow = "fold"
                column.no_wrap = column.no_wrap or not any(" " in str(cell) for cell in column.cells)
        return item if self.encoding.startswith("utf") else writable(item, self.encoding)

    def natural_width(self, item: Any) -> int:
        """Width of a renderable when no line is wrapped."""
        return Measurement.get(self, self.options.update(width=10_000), item).maximum

    def _needed(self, item: Any) -> int:
        if isinstance(item, Table) and not self.is_terminal:
            return self.natural_width(item)
        if isinstance(item, Table | Group | Padding):
            return Measurement.get(self, self.options.update(width=10_000), item).minimum
        return 0


out = Screen(highlight=False)
"""Standard output."""
