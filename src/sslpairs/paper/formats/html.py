"""Tables as HTML, and pages."""

import html

from sslpairs.paper.layout import layout
from sslpairs.paper.tables import Table
from sslpairs.paper.wording import CLAIM_HEADERS, claim_notes, claim_rows, notes, subtitle

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
tbody tr:last-child { border-bottom: 2px solid #222; } tr.end td { border-bottom: 1px solid #ddd; }
td.num, th.num { text-align: right; white-space: nowrap; }
.best { color: #666; font-size: .85em; }
.holds { color: #00693e; font-weight: 600; } .contradicted { color: #a3190b; font-weight: 600; }
.undecided, .notshown { color: #7a5200; font-weight: 600; } .noeffect { color: #1f5a8a; font-weight: 600; }
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


def html_table(headers: list[str], rows: list[str], caption: str = "", numbers: range = range(0)) -> str:
    """A table; ``headers`` and ``caption`` are plain text, ``rows`` are HTML; ``numbers``: right-aligned columns."""
    cells = "".join(
        f'<th{" class=num" if index in numbers else ""} scope="col">{html.escape(header)}</th>'
        for index, header in enumerate(headers)
    )
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    body = "\n".join(rows)
    return (
        f'<div class="scroll"><table>{title}\n<thead><tr>{cells}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def to_html(table: Table) -> str:
    """The table, its notes and its claims as a page of its own."""
    plan, esc = table.plan, html.escape
    parts = [f"<h1>{esc(plan['title'])}</h1>", f'<p class="sub">{esc(subtitle(plan))}</p>']
    for block in layout(table):
        rows = []
        for line, end in zip(block.rows, block.ends, strict=True):
            cells = [f"<td>{esc(line[0].text)}</td>"]
            for entry in line[1:]:
                text = f"<strong>{esc(entry.text)}</strong>" if entry.bold else esc(entry.text)
                best = f' <span class="best">({entry.best})</span>' if entry.best else ""
                cells.append(f'<td class="num">{text}{best}</td>')
            rows.append(f"<tr{' class=end' if end else ''}>{''.join(cells)}</tr>")
        parts.append(html_table(block.headers, rows, block.title, range(1, len(block.headers))))
    parts.append('<ul class="notes">' + "".join(f"<li>{esc(note)}</li>" for note in notes(table)) + "</ul>")
    if table.claims:
        rows = []
        for claim, texts in zip(table.claims, claim_rows(table), strict=True):
            kind = f' class="{claim.headline.verdict.replace(" ", "")}"'
            cells = [
                f"<td{kind if header == 'verdict' else ''}>{esc(text)}</td>"
                for header, text in zip(CLAIM_HEADERS, texts, strict=True)
            ]
            rows.append(f"<tr>{''.join(cells)}</tr>")
        parts += ["<h2>Claims</h2>", html_table(CLAIM_HEADERS, rows)]
        parts.append('<ul class="notes">' + "".join(f"<li>{esc(line)}</li>" for line in claim_notes(table)) + "</ul>")
    return html_page(plan["title"], "\n".join(parts))
