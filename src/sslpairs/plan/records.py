"""Types of receipts and plans: plain JSON values with their keys. Results are in ``evaluations.py``."""

from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from sslpairs.files import read_record
from sslpairs.plan.answers import Coded
from sslpairs.plan.paths import receipt_file

# --- receipts -------------------------------------------------------------------------------------------------------


class Digests(TypedDict):
    """Digests of a file."""

    sha256: str
    bytes: int
    md5: NotRequired[str]
    """DVC's key of a checkpoint."""


class Timing(TypedDict):
    """Duration of a training, without interruptions."""

    seconds: float
    images_per_second: float


class OnlineTest(TypedDict):
    """Top-1 in percent of the last and of the best epoch, and the best epoch."""

    last: float
    best: float
    best_epoch: int
    answers: NotRequired[Coded]
    """Of the last epoch. Receipts of before they were kept have none."""


class Git(TypedDict):
    """Version of the code that trained."""

    commit: str | None
    dirty: bool | None
    refused: NotRequired[str]
    """Why git reported no commit."""


class Receipt(TypedDict):
    """``run.json``: what was trained, from what, and with which results."""

    format: int
    run: str
    label: str
    dataset: str
    seed: int
    guide: str | None
    """Id of the run used as guide."""
    guide_checkpoint: str | None
    """SHA-256 of the guide's weights."""
    spec: dict[str, Any]
    """``RunSpec.plain``."""
    checkpoint: Digests
    metrics: Digests
    online: OnlineTest
    loss: float
    steps: NotRequired[int]
    """Of the optimiser. Receipts of before it was noted: items // batch size * epochs."""
    items: int
    """Index pairs per epoch: images, or pairs mined by SPPS."""
    notes: list[str]
    resumed_after: list[int]
    """Epochs after which it was interrupted and resumed."""
    device: str
    threads: int
    compiled: bool
    memory: dict[str, int]
    """Peak memory in bytes: ``host`` and ``gpu``."""
    timing: Timing
    finished: str
    git: Git
    code: str
    """``training_code``."""
    versions: dict[str, str | None]
    seal: str


def steps_of(receipt: Receipt) -> int | None:
    """Optimiser steps of a training; None for a receipt that does not tell."""
    if "steps" in receipt or "items" not in receipt:
        return receipt.get("steps")
    return receipt["items"] // receipt["spec"]["batch_size"] * receipt["spec"]["epochs"]


def read_receipt(run: str, root: Path) -> Receipt | None:
    """Read a run's receipt. Return None if there is none; raise ``UserError`` if it is damaged."""
    return read_record(root / receipt_file(run), root)


# --- plans ----------------------------------------------------------------------------------------------------------


class PlannedRun(TypedDict):
    """One training."""

    label: str
    dataset: str
    backbone: str
    augmentation: str
    seed: int
    gpus: int
    guide: str | None
    spec: dict[str, Any]


class PlannedEvaluation(TypedDict):
    """Evaluation of one run under all protocols of its recipe, or some of them (``evaluations.py``)."""

    run: str
    key: str
    protocols: dict[str, dict[str, Any] | None]
    """Protocol -> its settings; null for protocols that are configured in the training."""
    asked: dict[str, list[str]]
    """Protocol -> metrics shown in tables."""
    dataset: NotRequired[str]
    content: NotRequired[str]
    """Given if the data are not the run's own."""


class PlannedBaseline(TypedDict):
    """Evaluation of something that was not trained (``baselines.py``)."""

    spec: dict[str, Any]
    """What it is: kind, content of the data, seed, network."""
    dataset: str
    protocols: dict[str, dict[str, Any]]
    """Protocol -> its settings."""
    like: str
    """An evaluation of the same size."""


class Replicate(TypedDict):
    """One seed of a cell."""

    seed: int
    run: str
    evaluation: str


class PlannedCell(TypedDict):
    """One method in one setting."""

    row: str
    column: str
    replicates: list[Replicate]


class PlannedRow(TypedDict):
    """One method."""

    id: str
    label: str
    base: str
    strategies: list[str]


class PlannedBaselines(TypedDict):
    """Rows below a table's own."""

    rows: list[PlannedRow]
    cells: list[PlannedCell]
    """The ``run`` of a replicate is the baseline's name without the key."""


class PlannedColumn(TypedDict):
    """One setting."""

    id: str
    label: str
    dataset: str
    settings: dict[str, Any]
    stands_for: list[str]
    """Settings of the paper, in words."""
    test_images: int | None
    """Where that is known."""


class Term(TypedDict):
    """A weighted cell of a contrast."""

    row: str
    column: str
    weight: int


class PlannedEffect(TypedDict):
    """A published difference."""

    value: float
    unit: str
    setting: str
    source: str
    comparable: bool


class PlannedClaim(TypedDict):
    """A claim about some cells."""

    id: str
    text: str
    metric: str
    setting: str
    terms: list[Term]
    source: str
    published: PlannedEffect | None


class PlannedValue(TypedDict):
    """A published value of a cell."""

    row: str
    column: str
    metric: str
    value: float
    setting: str
    source: str
    comparable: bool


class Measure(TypedDict):
    """The description of a metric."""

    protocol: str
    title: str
    what: str
    about: str
    """The protocol."""


class PlannedTable(TypedDict):
    """One table, without its numbers."""

    id: str
    key: str
    """Digest of all other keys and of the code that writes tables."""
    paper: str
    paper_title: str
    arxiv: str | None
    title: str
    axes: str
    note: str
    scale: str
    scale_title: str
    rows: list[PlannedRow]
    columns: list[PlannedColumn]
    metrics: list[str]
    measures: dict[str, Measure]
    """By metric."""
    cells: list[PlannedCell]
    baselines: PlannedBaselines
    claims: list[PlannedClaim]
    published: list[PlannedValue]


class PlannedFigure(TypedDict):
    """One figure of a table."""

    id: str
    key: str
    paper: str
    kind: str
    title: str
    table: str
    metric: str


class PlannedDataset(TypedDict):
    """One data set."""

    title: str
    content: str
    config: dict[str, Any]
    """Its entry in ``config/datasets.yaml``."""


class PlannedEncoder(TypedDict):
    """An encoder that others have trained."""

    name: str
    config: dict[str, Any]
    """Its entry in ``config/encoders.yaml``."""


def weights_of(spec: dict[str, Any]) -> list[str]:
    """Return the digests of the weights that guide a training: at most one in practice."""
    guides = [settings["guide"] for settings in spec["strategies"].values() if settings.get("guide")]
    return [guide["encoder"]["sha256"] for guide in guides if guide["kind"] == "weights"]


def baseline_replicates(table: PlannedTable) -> list[Replicate]:
    """Return the replicates of all baselines."""
    return [replicate for cell in table["baselines"]["cells"] for replicate in cell["replicates"]]


def replicates(table: PlannedTable) -> list[Replicate]:
    """Return the replicates of all cells."""
    return [replicate for cell in table["cells"] for replicate in cell["replicates"]]
