"""A new idea is two files and an entry: here are a strategy and a base method that the project does not know, and a table with both."""

import csv
from pathlib import Path

import pytest
from projects import TABLE, build, built, edit, say

STRATEGY = {
    "config/strategies/squash.py": '''
"""Squash: projections are kept small."""

from typing import ClassVar, Literal

from sslpairs.config.base import NonNegative
from sslpairs.config.meaning import Meaning
from sslpairs.config.strategies.base import Strategy


class Squash(Strategy):
    """Settings of ``pairs/squash.py``."""

    title: ClassVar[str] = "Squash"
    order: ClassVar[int] = 60
    otherwise: ClassVar[Meaning | None] = Meaning("ours", "adds the mean square of both projections")

    version: Literal[1] = 1
    weight: NonNegative
''',
    "pairs/squash.py": '''
"""Squash: adds the mean square of both projections."""

from sslpairs.pairs.base import Pairs


class Squash(Pairs):
    """The mean square of both projections, beside everything else."""

    name = "squash"

    def __init__(self, settings):
        self.settings = settings

    def combine(self, total, step):
        """The weighted term added."""
        return total + self.settings.weight * sum(view.z.square().mean() for view in step.clean[:2])
''',
}
METHOD = {
    "config/methods/align.py": '''
"""Align: both projections are the same, and no two dimensions are."""

from typing import ClassVar, Literal

from sslpairs.config.base import Positive
from sslpairs.config.meaning import Meaning
from sslpairs.config.methods.base import Method


class Align(Method):
    """Settings of ``methods/align.py``."""

    title: ClassVar[str] = "Align"
    softmax: ClassVar[bool] = False
    meanings: ClassVar[dict[str, Meaning]] = {"clae": Meaning("ours", "adds the loss between view 1 and its attack")}

    version: Literal[1] = 1
    spread: Positive
''',
    "methods/align.py": '''
"""Align: mean squared distance of both projections, and their spread."""

from sslpairs.methods.base import BaseMethod


class Align(BaseMethod):
    """The distance of both projections less their spread."""

    def pair_loss(self, a, b):
        """The loss."""
        return (a.z - b.z).square().mean() - self.settings.spread * a.z.std(0).clamp(max=1).mean()
''',
}
ROWS = "gps-strong. The guide is the scale's.\n    rows: [simclr, simclr+gps]"
HEAD = "{hidden: [32], output: 16, batch_norm: true, last_batch_norm: false}"


def add(project: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (project / "src/sslpairs" / name).write_text(text.lstrip())


@pytest.mark.slow
def test_a_strategy_and_a_method_of_two_files_and_an_entry_each_are_trained_and_stand_in_a_table(original, tmp_path):
    project = built(original, tmp_path / "project")
    add(project, STRATEGY | METHOD)
    recipe, paper = project / "config/recipes/digits.yaml", project / "config/papers/gps.yaml"
    edit(recipe, "\nstrategies:\n", "\nstrategies:\n  squash: {weight: 0.1}\n")
    edit(recipe, "\nmethods:\n", f"\nmethods:\n  align: {{spread: 1.0, projector: {HEAD}}}\n")
    edit(paper, ROWS, ROWS.replace("]", ", simclr+squash, align, align+clae]"))
    done = build(project, TABLE, "--config", "seeds=1")
    assert done.returncode == 0, done.stdout + done.stderr
    with open(project / f"results/tables/digits/{TABLE}.csv") as file:
        rows = {row["row"] for row in csv.DictReader(file)}
    assert {"align", "align+clae", "simclr+squash"} <= rows


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("pairs/squash.py", "src/sslpairs/pairs/squash.py is missing, the other half of src/sslpairs/config/strategies/squash.py"),
        ("config/strategies/squash.py", "src/sslpairs/pairs/squash.py is there, and src/sslpairs/config/strategies/squash.py is not"),
    ],
)  # fmt: skip
def test_a_missing_half_is_told_in_one_line_when_the_configuration_is_read(original, tmp_path, lacking, words):
    project = built(original, tmp_path / "project")
    add(project, {name: text for name, text in STRATEGY.items() if name != lacking})
    edit(project / "config/papers/gps.yaml", ROWS, ROWS.replace("]", ", simclr+squash]"))
    done = say(project, "sslpairs", "plan", TABLE)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert words in done.stderr


def test_a_combination_that_nobody_has_defined_is_refused_in_words(original, tmp_path):
    project = built(original, tmp_path / "project")
    add(project, METHOD)
    edit(project / "config/papers/gps.yaml", ROWS, ROWS.replace("]", ", align+mixco]"))
    done = say(project, "sslpairs", "plan", TABLE)
    assert done.returncode == 2
    assert (
        "nobody has said what MixCo is for Align; say it in `meanings` of src/sslpairs/config/methods/align.py"
        in done.stderr
    )
