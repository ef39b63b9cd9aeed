"""Where files of results lie, relative to the project."""

from pathlib import Path

ENDINGS = {"tables": ("csv", "claims.csv", "md", "tex", "html"), "figures": ("pdf", "png", "svg")}
"""Files of a table and of a figure."""


def run_folder(run: str) -> Path:
    """Receipt, metrics and checkpoint of a run, relative to the root."""
    return Path("results/runs") / run


def pointer_file(run: str) -> Path:
    """What DVC knows of a published checkpoint, relative to the root."""
    return run_folder(run) / "checkpoint.pt.dvc"


def evaluation_file(evaluation: str) -> Path:
    """The numbers of one checkpoint, relative to the root; ``evaluation`` is 'run id/key'."""
    return Path("results/evals") / f"{evaluation}.json"
