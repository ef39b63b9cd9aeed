"""How all figures look, and how they are written.

Sizes are those of print: one text column is 3.4 inches wide, two are 6.9, and no letter is smaller than 7 points.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sslpairs.files import write_atomic

ONE_COLUMN, TWO_COLUMNS = 3.4, 6.9
LINE = 0.155
"""Height of a line of 7-point text, in inches."""
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same file on every machine
    "font.size": 7,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.formatter.useoffset": False,
    "lines.linewidth": 1.3,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "sslpairs",
}


@contextmanager
def styled() -> Iterator[None]:
    """Seaborn's theme and colour-blind palette, in matplotlib's settings meanwhile."""
    import matplotlib as mpl
    import seaborn as sns

    with mpl.rc_context():
        sns.set_theme(context="paper", style="ticks", palette="colorblind", rc=STYLE)
        yield


def save(drawing: Any, stem: Path) -> None:
    """Write ``stem`` with .pdf, .png (200 dpi) and .svg. Equal figures give equal bytes."""
    # The library's version and the date would make them differ.
    for kind, metadata in {
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
    }.items():
        content = io.BytesIO()
        drawing.savefig(content, format=kind, dpi=200, metadata=metadata)
        write_atomic(f"{stem}.{kind}", content.getvalue())
