"""Tables as LaTeX."""

from sslpairs.paper.layout import layout
from sslpairs.paper.tables import Table
from sslpairs.paper.wording import CLAIM_HEADERS, claim_notes, claim_rows, notes, subtitle

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


def tex(text: str) -> str:
    """Text for LaTeX: special characters escaped."""
    return text.translate(str.maketrans(_TEX))


def to_latex(table: Table) -> str:
    r"""The table and its claims as two floats for ``\input``; the document only needs ``\usepackage{booktabs}``."""
    plan = table.plan
    blocks = layout(table)
    width = max(len(block.headers) for block in blocks)
    body = []
    for block in blocks:
        filler = " &" * (width - len(block.headers))
        body.append(rf"\multicolumn{{{width}}}{{@{{}}l}}{{\textit{{{tex(block.title)}}}}} \\")
        body += [" & ".join(tex(header) for header in block.headers) + filler + r" \\", r"\midrule"]
        for line, end in zip(block.rows, block.ends, strict=True):
            texts = []
            for entry in line:
                text = rf"\textbf{{{tex(entry.text)}}}" if entry.bold else tex(entry.text)
                texts.append(text + (rf" {{\scriptsize ({entry.best})}}" if entry.best else ""))
            body += [" & ".join(texts) + filler + r" \\", *([r"\addlinespace"] if end else [])]
        body.append(r"\midrule")
    caption = tex(f"{plan['title']}. {subtitle(plan)}.")
    under = "\n".join(tex(note) for note in notes(table))
    text = _float(f"tab:{plan['id']}", caption, "l" + "r" * (width - 1), body[:-1], under)
    if not table.claims:
        return text
    lines = [CLAIM_HEADERS, *claim_rows(table)]
    body = [" & ".join(rf"{{\raggedright {tex(cell)}\par}}" for cell in line) + r" \\" for line in lines]
    body.insert(1, r"\midrule")
    spec = "".join(rf"p{{{share}\linewidth}}" for share in (0.19, 0.1, 0.14, 0.07, 0.03, 0.12, 0.11, 0.15))
    caption = rf"Claims tested on Table~\ref{{tab:{plan['id']}}}."
    under = "\n".join(tex(line) for line in claim_notes(table))
    return text + "\n" + _float(f"tab:{plan['id']}-claims", caption, spec, body, under)


def _float(label: str, caption: str, spec: str, body: list[str], under: str) -> str:
    lines = "\n".join(body)
    return rf"""\begin{{table}}[t]
\centering
\small
\setlength{{\tabcolsep}}{{4pt}}
\caption{{{caption}}}
\label{{{label}}}
\begin{{tabular}}{{@{{}}{spec}@{{}}}}
\toprule
{lines}
\bottomrule
\end{{tabular}}

\smallskip
\parbox{{\linewidth}}{{\footnotesize
{under}
}}
\end{{table}}
"""
