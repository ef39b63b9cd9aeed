"""All files of a table."""

from pathlib import Path

from sslpairs.files import write_atomic
from sslpairs.paper.formats.csv import claims_csv, to_csv
from sslpairs.paper.formats.html import to_html
from sslpairs.paper.formats.latex import to_latex
from sslpairs.paper.formats.markdown import to_markdown
from sslpairs.paper.tables import Table


def write_table(table: Table, stem: Path) -> None:
    """Write ``stem`` with .csv, .claims.csv, .md, .tex and .html; each file atomically."""
    write_atomic(f"{stem}.csv", to_csv(table))
    write_atomic(f"{stem}.claims.csv", claims_csv(table))
    write_atomic(f"{stem}.md", to_markdown(table))
    write_atomic(f"{stem}.tex", to_latex(table))
    write_atomic(f"{stem}.html", to_html(table))
