"""Tables as LaTeX."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sslpairs.paper.layout import layout
from sslpairs.paper.tables import Table
from sslpairs.paper.wording import CLAIM_HEADERS, claim_notes, claim_rows, notes, subtitle

if TYPE_CHECKING:
    import pandas as pd

_TEX = {character: f"\\{character}" for character in "&%$#_{}"}
_TEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "[": "{[}",
    "\n": " ",
}
_CLAIM_WIDTHS = (0.18, 0.1, 0.14, 0.07, 0.03, 0.11, 0.11, 0.14)
"""Of the columns of claims, in line widths."""


def tex(text: str) -> str:
    """Text for LaTeX: special characters escaped."""
    return text.translate(str.maketrans(_TEX))


def to_latex(table: Table) -> str:
    r"""The table and its claims as two floats for ``\input``; the document only needs ``\usepackage{booktabs}``."""
    import pandas as pd

    plan = table.plan
    label, parts = f"tab:{plan['id']}", []
    for block in layout(table):
        texts = block.texts(tex, r"\textbf{{{}}}", r"{{\scriptsize ({})}}")
        tabular = _tabular(texts, list(map(tex, block.headers)), "l" + "r" * (len(block.headers) - 1), block.ends)
        parts.append(rf"\textit{{{tex(block.title)}}}\par\smallskip" + f"\n{tabular}")
    text = _float(label, tex(f"{plan['title']}. {subtitle(plan)}."), parts, notes(table))
    if not table.claims:
        return text
    lines = [[rf"{{\raggedright {tex(text)}\par}}" for text in row] for row in (CLAIM_HEADERS, *claim_rows(table))]
    spec = "".join(rf"p{{{width}\linewidth}}" for width in _CLAIM_WIDTHS)
    claims = _tabular(pd.DataFrame(lines[1:]), lines[0], spec)
    caption = rf"Claims tested on Table~\ref{{{label}}}."
    return text + "\n" + _float(f"{label}-claims", caption, [claims], claim_notes(table))


def _tabular(texts: "pd.DataFrame", headers: Sequence[str], spec: str, ends: Sequence[bool] = ()) -> str:
    """``texts`` as a tabular with the rules of booktabs and some room after each row of ``ends``, which Styler cannot do."""
    styler = texts.style.hide(axis="index").format_index(lambda number: headers[number], axis="columns")
    lines = styler.to_latex(hrules=True, column_format=f"@{{}}{spec}@{{}}").splitlines()
    first = lines.index(r"\midrule") + 1
    for row in reversed([row for row, end in enumerate(ends) if end]):
        lines.insert(first + row + 1, r"\addlinespace")
    return "\n".join(lines)


def _float(label: str, caption: str, parts: Iterable[str], under: Iterable[str]) -> str:
    body, lines = "\n\n\\medskip\n".join(parts), "\n".join(map(tex, under))
    return rf"""\begin{{table}}[t]
\raggedright
\small
\setlength{{\tabcolsep}}{{4pt}}
\caption{{{caption}}}
\label{{{label}}}
{body}

\smallskip
\parbox{{\linewidth}}{{\footnotesize
{lines}
}}
\end{{table}}
"""
