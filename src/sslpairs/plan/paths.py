"""Where files of results lie, relative to the project."""

from pathlib import Path

ENDINGS = {"tables": ("csv", "claims.csv", "md", "tex", "html"), "figures": ("pdf", "png", "svg")}
"""Files of a table and of a figure."""
RUNS, EVALUATIONS, PLANS, BUILDS = (Path("results", name) for name in ("runs", "evals", "plans", "builds"))
RESULTS = Path("results/results.csv")
"""All numbers of the chosen tables."""


def run_folder(run: str) -> Path:
    """Receipt, metrics and checkpoint of a run."""
    return RUNS / run


def receipt_file(run: str) -> Path:
    """What was trained, from what, and what came out."""
    return RUNS / run / "run.json"


def metrics_file(run: str) -> Path:
    """A line an epoch."""
    return RUNS / run / "metrics.csv"


def checkpoint_file(run: str) -> Path:
    """The trained weights."""
    return RUNS / run / "checkpoint.pt"


def pointer_file(run: str) -> Path:
    """What DVC knows of a published checkpoint."""
    return RUNS / run / "checkpoint.pt.dvc"


def evaluation_file(evaluation: str) -> Path:
    """The numbers of one checkpoint; ``evaluation`` is 'run id/key'."""
    return EVALUATIONS / f"{evaluation}.json"


def product_stem(kind: str, scale: str, name: str) -> Path:
    """Of the files of a table or a figure (``kind``: "tables" or "figures"), without an ending."""
    return Path("results", kind, scale, name)


def provenance_page(scale: str, key: str) -> Path:
    """Where every number comes from."""
    return Path("results/provenance", f"{scale}.{key}.html")
