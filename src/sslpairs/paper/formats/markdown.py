"""Tables as Markdown."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sslpairs.paper.layout import layout
from sslpairs.paper.tables import Table
from sslpairs.paper.wording import CLAIM_HEADERS, claim_notes, claim_rows, notes, subtitle

if TYPE_CHECKING:
    import pandas as pd


def _md(text: str) -> str:
    for character in "\\`*_|":
        text = text.replace(character, f"\\{character}")
    return text.replace("<", "&lt;").replace("\n", " ")


def _md_table(texts: "pd.DataFrame", headers: Iterable[str], numbers: range) -> str:
    align = ["right" if index in numbers else "left" for index in range(texts.shape[1])]
    return texts.to_markdown(
        index=False, headers=list(map(_md, headers)), tablefmt="github", colalign=align, disable_numparse=True
    )


def _md_list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_md(line)}" for line in lines)


def to_markdown(table: Table) -> str:
    """The table, its notes and its claims as GitHub-flavoured Markdown."""
    import pandas as pd

    plan = table.plan
    parts = [f"## {_md(plan['title'])}", _md(subtitle(plan))]
    for block in layout(table):
        texts = block.texts(_md, "**{}**", "({})")
        parts += [f"**{_md(block.title)}**", _md_table(texts, block.headers, range(1, len(block.headers)))]
    parts.append(_md_list(notes(table)))
    if table.claims:
        texts = pd.DataFrame(claim_rows(table)).map(_md)
        parts += ["**Claims**", _md_table(texts, CLAIM_HEADERS, range(3, 5)), _md_list(claim_notes(table))]
    return "\n\n".join(parts) + "\n"
