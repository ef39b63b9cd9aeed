"""What receipts and plans hold: plain JSON values, with their keys declared here. ``evaluations.py`` has the results."""

from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from sslpairs.files import read_record
from sslpairs.plan.paths import receipt_file

# --- receipts -------------------------------------------------------------------------------------------------------


class Digests(TypedDict):
    """Of a file."""

    sha256: str
    bytes: int
    md5: NotRequired[str]
    """DVC's name of a checkpoint."""


class Timing(TypedDict):
    """What a training took, interruptions left out."""

    seconds: float
    images_per_second: float


class Git(TypedDict):
    """The code that trained."""

    commit: str | None
    dirty: bool | None
    refused: NotRequired[str]
    """Why git told no commit."""


class Receipt(TypedDict):
    """``run.json``: what was trained, from what, and what came out."""

    format: int
    run: str
    label: str
    dataset: str
    seed: int
    guide: str | None
    """Another run."""
    guide_checkpoint: str | None
    """sha256 of the weights that guided."""
    spec: dict[str, Any]
    """``RunSpec.plain``."""
    checkpoint: Digests
    metrics: Digests
    online: dict[str, float | int]
    """Top-1 of the last and of the best epoch, and which that was."""
    loss: float
    items: int
    """Index pairs an epoch: images, or what SPPS mined."""
    notes: list[str]
    resumed_after: list[int]
    """Epochs after which it was interrupted."""
    device: str
    threads: int
    compiled: bool
    memory: dict[str, int]
    """Bytes, at most: ``host`` and ``gpu``."""
    timing: Timing
    finished: str
    git: Git
    code: str
    """``training_code``."""
    versions: dict[str, str | None]
    seal: str


def read_receipt(run: str, root: Path) -> Receipt | None:
    """None where there is none; ``UserError`` where it is damaged."""
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
    """One run under all protocols of its recipe, or a part of them (``evaluations.py``)."""

    run: str
    key: str
    protocols: dict[str, dict[str, Any] | None]
    """With their settings; null for those that have them in the training."""
    asked: dict[str, list[str]]
    """The metrics of each that tables show."""
    dataset: NotRequired[str]
    content: NotRequired[str]
    """Where it is not on the run's own data."""


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


class PlannedColumn(TypedDict):
    """One setting."""

    id: str
    label: str
    dataset: str
    settings: dict[str, Any]
    stands_for: list[str]
    """Settings of the paper, in words."""


class Term(TypedDict):
    """A cell of a contrast."""

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
    """What is claimed of some cells."""

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


class PlannedTable(TypedDict):
    """One table, before its numbers."""

    id: str
    key: str
    """A digest of all else, and of the code that writes tables."""
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
    cells: list[PlannedCell]
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


def replicates(table: PlannedTable) -> list[Replicate]:
    """Of all cells."""
    return [one for cell in table["cells"] for one in cell["replicates"]]
