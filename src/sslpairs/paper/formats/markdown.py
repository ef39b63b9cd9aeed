"""Tables as Markdown."""

from sslpairs.paper.layout import layout
from sslpairs.paper.tables import Table
from sslpairs.paper.wording import CLAIM_HEADERS, claim_notes, claim_rows, notes, subtitle


def _md(text: str) -> str:
    for character in "\\`*_|":
        text = text.replace(character, f"\\{character}")
    return text.replace("<", "&lt;").replace("\n", " ")


def _md_table(headers: list[str], rows: list[list[str]], align: str) -> str:
    rule = {"l": "---", "r": "---:"}
    lines = [headers, [rule[letter] for letter in align], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_markdown(table: Table) -> str:
    """The table, its notes and its claims as GitHub-flavoured Markdown."""
    plan = table.plan
    parts = [f"## {_md(plan['title'])}", _md(subtitle(plan))]
    for block in layout(table):
        rows = []
        for line in block.rows:
            texts = [f"**{_md(entry.text)}**" if entry.bold else _md(entry.text) for entry in line]
            rows.append(
                [text + (f" ({entry.best})" if entry.best else "") for text, entry in zip(texts, line, strict=True)]
            )
        headers = [_md(header) for header in block.headers]
        parts += [f"**{_md(block.title)}**", _md_table(headers, rows, "l" + "r" * (len(headers) - 1))]
    parts.append("\n".join(f"- {_md(note)}" for note in notes(table)))
    if table.claims:
        rows = [[_md(text) for text in row] for row in claim_rows(table)]
        parts += ["**Claims**", _md_table(CLAIM_HEADERS, rows, "lllrrlll")]
        parts.append("\n".join(f"- {_md(line)}" for line in claim_notes(table)))
    return "\n\n".join(parts) + "\n"
