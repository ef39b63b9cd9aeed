"""Paths of result files, relative to the project."""

from pathlib import Path

ENDINGS = {"tables": ("csv", "claims.csv", "md", "tex", "html"), "figures": ("pdf", "png", "svg")}
"""Extensions of the files of a table and of a figure."""
RUNS, EVALUATIONS, PLANS, BUILDS = (Path("results", name) for name in ("runs", "evals", "plans", "builds"))
CLAIMS = Path("results/claims.csv")
"""All claims of the chosen tables."""
RESULTS = Path("results/results.csv")
"""All numbers of the chosen tables."""

OWED = BUILDS / "overview-owed"
"""Is there from the start of a build until both are written."""


def run_folder(run: str) -> Path:
    """Folder with receipt, metrics and checkpoint of a run."""
    return RUNS / run


def receipt_file(run: str) -> Path:
    """Receipt of a run: what was trained, from what, and with which results."""
    return RUNS / run / "run.json"


def metrics_file(run: str) -> Path:
    """Metrics of a run, one line per epoch."""
    return RUNS / run / "metrics.csv"


def checkpoint_file(run: str) -> Path:
    """The trained weights."""
    return RUNS / run / "checkpoint.pt"


def pointer_file(run: str) -> Path:
    """DVC's pointer to a published checkpoint."""
    return RUNS / run / "checkpoint.pt.dvc"


def evaluation_file(evaluation: str) -> Path:
    """Results of one checkpoint; ``evaluation`` is 'run id/key'."""
    return EVALUATIONS / f"{evaluation}.json"


def product_stem(kind: str, scale: str, name: str) -> Path:
    """Path of a table or figure (``kind``: "tables" or "figures") without extension."""
    return Path("results", kind, scale, name)


def provenance_page(scale: str, key: str) -> Path:
    """Page that shows where every number comes from."""
    return Path("results/provenance", f"{scale}.{key}.html")
