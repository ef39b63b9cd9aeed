"""A new idea is two files and an entry: here are some that the project does not know, and tables with them."""

import csv
import json
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


class SquashSettings(Strategy):
    """Settings of ``pairs/squash.py``."""

    title: ClassVar[str] = "Squash"
    order: ClassVar[int] = 60
    otherwise: ClassVar[Meaning | None] = Meaning("ours", "The mean square of both projections is added.")

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

    def add_loss(self, total, step):
        """The weighted term added."""
        return total + self.settings.weight * sum(view.projection.square().mean() for view in step.clean[:2])
''',
}
METHOD = {
    "config/methods/align.py": '''
"""Align: both projections are the same, and no two dimensions are."""

from typing import ClassVar, Literal

from sslpairs.config.base import Positive
from sslpairs.config.meaning import Meaning
from sslpairs.config.methods.base import Method


class AlignSettings(Method):
    """Settings of ``methods/align.py``."""

    title: ClassVar[str] = "Align"
    softmax: ClassVar[bool] = False
    meanings: ClassVar[dict[str, Meaning]] = {"clae": Meaning("ours", "The loss between view 1 and its attack is added.")}

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
        return (a.projection - b.projection).square().mean() - self.settings.spread * a.projection.std(0).clamp(max=1).mean()
''',
}
PROTOCOL = {
    "config/protocols/centroid.py": '''
"""The nearest class mean."""

from typing import ClassVar, Literal

from sslpairs.config.protocols.base import TOP1, Protocol, Quantity


class CentroidSettings(Protocol):
    """Settings of ``evaluation/centroid.py``."""

    title: ClassVar[str] = "centroid"
    about: ClassVar[str] = "class of the nearest mean of frozen features"
    metrics: ClassVar[dict[str, Quantity]] = {"top1": TOP1, "spread": Quantity("spread", "spread of the means")}

    version: Literal[1] = 1
''',
    "evaluation/centroid.py": '''
"""The nearest class mean."""

import torch

from sslpairs.evaluation.encoded import percent


def measure(settings, encoded):
    """Top-1 in percent, and the mean distance of two class means."""
    (x, y), (queries, answers) = encoded.train, encoded.test
    means = torch.stack([x[y == label].mean(0) for label in range(encoded.classes)])
    right = torch.cdist(queries, means).argmin(1) == answers
    return {"top1": percent(right), "spread": torch.pdist(means).mean().item()}
''',
}
METRIC = {
    "config/protocols/knn.py": ('{"top1": TOP1,', '{"top1": TOP1, "top2": Quantity("top-2", "top-2 accuracy (%)"),'),
    "evaluation/knn.py": ('return {"top1"', 'return {"top2": percent(hits(votes, answers, 2)), "top1"'),
}
BACKBONE = {
    "config/backbones/flat.py": '''
"""One layer on all pixels."""

from typing import Literal

from sslpairs.config.backbones.base import BackboneSettings, Conv
from sslpairs.config.base import Width


class FlatSettings(BackboneSettings):
    """Settings of ``backbones/flat.py``."""

    kind: Literal["flat"]
    width: Width

    def layers(self, size, channels):
        """One, of the whole image."""
        return [Conv(channels, self.width, size, 1)]
''',
    "backbones/flat.py": '''
"""One layer on all pixels."""

from torch import nn


def build(settings, channels, size):
    """The layer, which takes its size from the first images."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(16), nn.Flatten(), nn.Linear(256 * channels, settings.width), nn.ReLU())
    return network, settings.width
''',
}
KIND = {
    "config/sources/stripes.py": '''
"""Made-up stripes."""

from typing import Literal

from sslpairs.config.sources.base import Source


class StripesSettings(Source):
    """Settings of ``data/kinds/stripes.py``."""

    kind: Literal["stripes"]
    size: int

    def image(self):
        """Grey."""
        return 1, self.size

    def counts(self):
        """Of each class 200."""
        return 400, 400
''',
    "data/kinds/stripes.py": '''
"""Made-up stripes, upright or lying."""

import numpy as np

from sslpairs.data.sources import Opened


def open_source(name, source, path):
    """Two classes, and two splits of the same number."""
    labels = np.repeat(np.arange(2), 200)

    def images(split):
        wave = 127 + 120 * np.sin(np.arange(source.size) + 0.1 * np.arange(400)[:, None])
        upright = np.repeat(wave[:, None], source.size, axis=1)
        found = np.where(labels[:, None, None] == 0, upright, upright.swapaxes(1, 2)).astype(np.uint8)[:, None]
        yield found if split == "train" else found[:, :, ::-1]

    return Opened(f"data set '{name}'", ["upright", "lying"], {"train": labels, "test": labels}, images)
''',
}
ROWS = "gps-strong. The guide is the scale's.\n    rows: [simclr, simclr+gps]"
HEAD = "{hidden: [32], output: 16, batch_norm: true, last_batch_norm: false}"


def add(project: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (project / "src/sslpairs" / name).write_text(text.lstrip())


def table(project: Path) -> list[dict[str, str]]:
    with open(project / f"results/tables/digits/{TABLE}.csv") as file:
        return list(csv.DictReader(file))


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
    assert {"align", "align+clae", "simclr+squash"} <= {row["row"] for row in table(project)}


@pytest.mark.slow
def test_a_protocol_and_a_metric_are_measured_alone_and_stand_in_a_table_beside_what_was_measured_before(
    original, tmp_path
):
    project = built(original, tmp_path / "project")
    before = table(project)
    measured = {path: path.read_bytes() for path in project.glob("results/evals/*/*.json")}
    add(project, PROTOCOL)
    for name, change in METRIC.items():
        edit(project / "src/sslpairs" / name, *change)
    edit(project / "config/recipes/digits.yaml", "\nevaluation:\n", "\nevaluation:\n  centroid: {}\n")
    asked = "metrics: [online.top1, linear.top1, knn.top1"
    path = project / "config/papers/gps.yaml"
    path.write_text(path.read_text().replace(asked, f"{asked}, knn.top2, centroid.top1, centroid.spread"))
    done = build(project, TABLE, "--config", "train=never")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(path.read_bytes() == content for path, content in measured.items())
    after = {(row["row"], row["column"], row["metric"]): row for row in table(project)}
    for row in before:
        again = after.pop((row["row"], row["column"], row["metric"]))
        assert again == row
    assert {metric for _, _, metric in after} == {"knn.top2", "centroid.top1", "centroid.spread"}
    new = [json.loads(path.read_text()) for path in project.glob("results/evals/*/*.json") if path not in measured]
    assert len(new) == len(measured)
    assert all(list(evaluation["protocols"]) == ["centroid", "knn"] for evaluation in new)
    text = (project / f"results/tables/digits/{TABLE}.md").read_text()
    assert "kNN top-2 accuracy (%)" in text
    assert "centroid: class of the nearest mean of frozen features" in text


@pytest.mark.slow
def test_a_backbone_and_a_kind_of_data_set_of_two_files_and_an_entry_each_are_prepared_and_trained(original, tmp_path):
    project = built(original, tmp_path / "project")
    add(project, BACKBONE | KIND)
    source = "stripes: {title: Stripes, source: {kind: stripes, size: 16}}"
    edit(project / "config/datasets.yaml", "\ndatasets:\n", f"\ndatasets:\n  {source}\n")
    scale = project / "config/scales/digits.yaml"
    edit(scale, "datasets: {default: digits}", "datasets: {default: stripes}")
    edit(scale, "{kind: convnet, widths: [8, 16]}", "{kind: flat, width: 32}")
    for words in (("sslpairs", "fetch"), ("snakemake", TABLE, "--config", "seeds=1")):
        done = say(project, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert {(row["dataset"], row["backbone"]) for row in table(project)} == {("Stripes", "flat")}
    assert all(float(row["last_mean"]) > 60 for row in table(project) if row["metric"] == "linear.top1")


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("pairs/squash.py", "src/sslpairs/pairs/squash.py is missing, the counterpart of src/sslpairs/config/strategies/squash.py"),
        ("config/strategies/squash.py", "src/sslpairs/pairs/squash.py exists, but src/sslpairs/config/strategies/squash.py does not"),
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


def test_what_a_settings_class_lacks_is_told_in_one_line(original, tmp_path):
    project = built(original, tmp_path / "project")
    add(project, {name: text.replace("def layers", "def other") for name, text in BACKBONE.items()})
    done = say(project, "sslpairs", "plan", TABLE)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "src/sslpairs/config/backbones/flat.py: FlatSettings has no layers; write it" in done.stderr


def test_a_combination_that_nobody_has_defined_is_refused_in_words(original, tmp_path):
    project = built(original, tmp_path / "project")
    add(project, METHOD)
    edit(project / "config/papers/gps.yaml", ROWS, ROWS.replace("]", ", align+mixco]"))
    done = say(project, "sslpairs", "plan", TABLE)
    assert done.returncode == 2
    assert (
        "MixCo is not defined for Align; define it in `meanings` of src/sslpairs/config/methods/align.py" in done.stderr
    )
