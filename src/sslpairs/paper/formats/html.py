"""Tables as HTML, and pages."""

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sslpairs.paper.layout import layout
from sslpairs.paper.tables import Table
from sslpairs.paper.wording import CLAIM_HEADERS, claim_notes, claim_rows, notes, subtitle

if TYPE_CHECKING:
    import pandas as pd

_CSS = """
body { margin: 1.5rem auto; max-width: 62rem; padding: 0 1rem; background: #fff; color: #1c1c1c;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 .2rem; } h2 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p.sub, ul.notes, .dim { color: #555; } ul.notes { font-size: .87rem; padding-left: 1.1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .3rem 0 1rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .28rem .8rem .28rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; border-bottom: 1px solid #888; } thead tr { border-top: 2px solid #222; }
tbody tr:last-child { border-bottom: 2px solid #222; } tr:has(.end) td { border-bottom: 1px solid #ddd; }
.numbers :is(td, th):not(:first-child) { text-align: right; white-space: nowrap; }
.best { color: #666; font-size: .85em; }
.holds { color: #00693e; font-weight: 600; } .contradicted { color: #a3190b; font-weight: 600; }
.undecided, .notshown { color: #7a5200; font-weight: 600; } .base { color: #7b2d8b; font-weight: 600; }
.no { color: #1f5a8a; font-weight: 600; }
code { font-family: ui-monospace, SFMono-Regular, Consolas, monospace; font-size: .86em; }
details { margin: .2rem 0; } summary { cursor: pointer; } details details { margin-left: 1rem; }
details:target > summary { background: #fff3c4; } pre { overflow-x: auto; background: #f6f6f6; padding: .6rem; }
""".strip()


def html_page(title: str, body: str) -> str:
    """A complete HTML page without external files; ``title`` is plain text, ``body`` is HTML."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_CSS}\n</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def html_table(cells: "pd.DataFrame", headers: Sequence[str] = (), caption: str = "", kind: str = "texts") -> str:
    """``cells`` (HTML; columns are counted) under ``headers`` (plain text). ``kind`` numbers: right-aligned but for the first column."""
    styler = cells.style.hide(axis="index")
    if headers:
        styler.format_index(lambda number: html.escape(headers[number]), axis="columns")
    else:
        styler.hide(axis="columns")
    if caption:
        styler.set_caption(html.escape(caption))
    return f'<div class="scroll {kind}">{styler.to_html(exclude_styles=True)}</div>'


def _list(lines: Iterable[str]) -> str:
    return '<ul class="notes">' + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def to_html(table: Table) -> str:
    """The table, its notes and its claims as a page of its own."""
    import pandas as pd

    plan = table.plan
    parts = [f"<h1>{html.escape(plan['title'])}</h1>", f'<p class="sub">{html.escape(subtitle(plan))}</p>']
    for block in layout(table):
        cells = block.texts(html.escape, "<strong>{}</strong>", '<span class="best">({})</span>')
        cells[0] = [
            f'<span class="end">{text}</span>' if end else text for text, end in zip(cells[0], block.ends, strict=True)
        ]
        parts.append(html_table(cells, block.headers, block.title, "numbers"))
    parts.append(_list(notes(table)))
    if table.claims:
        cells, verdict = pd.DataFrame(claim_rows(table)).map(html.escape), CLAIM_HEADERS.index("verdict")
        kinds = [claim.headline.verdict.split()[0] for claim in table.claims]
        cells[verdict] = [
            f'<span class="{kind}">{text}</span>' for kind, text in zip(kinds, cells[verdict], strict=True)
        ]
        parts += ["<h2>Claims</h2>", html_table(cells, CLAIM_HEADERS), _list(claim_notes(table))]
    return html_page(plan["title"], "\n".join(parts))
