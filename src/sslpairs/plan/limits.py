"""Checks at planning time, instead of in each job: more images, neighbours or epochs than there are."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslpairs.config.datasets import DatasetSettings
from sslpairs.config.optimization import Schedule
from sslpairs.config.protocols.base import Protocol
from sslpairs.errors import UserError
from sslpairs.files import read_json
from sslpairs.plan.records import PlannedRun


@dataclass(frozen=True)
class Images:
    """Number and size of the images of a data set."""

    train: int
    test: int
    size: int
    channels: int
    unlabelled: int = 0
    """Training images without a label."""

    @property
    def labelled(self) -> int:
        """Training images that evaluations use."""
        return self.train - self.unlabelled

    @property
    def bytes(self) -> int:
        """Size of all images as arrays."""
        return (self.train + self.test) * self.channels * self.size**2


def known_images(root: Path, name: str, config: dict[str, Any], content: str | None = None) -> Images | None:
    """Return the images of the prepared data set (with this content, if given), else those stated in ``config/datasets.yaml``;
    None if unknown."""
    receipt = None
    with contextlib.suppress(UserError):  # a damaged one is reported when the images are read
        receipt = read_json(root / "data" / name / "dataset.json")
    if receipt and content in (None, receipt.get("content")):
        channels, size = receipt["image"][0], receipt["image"][-1]
        counts = receipt["counts"]
        return Images(counts["train"], counts["test"], size, channels, receipt.get("unlabelled", 0))
    dataset = DatasetSettings.model_validate(config)
    (channels, size), counts = dataset.source.image(), dataset.source.counts()
    if dataset.expected:
        counts = dataset.expected.train, dataset.expected.test
    return Images(*counts, size, channels, dataset.source.unlabelled()) if counts else None


def check_evaluation(
    images: Images | None, data: str, protocols: Iterable[tuple[str, Protocol]], recipe_file: str
) -> None:
    """Raise ``UserError`` for a protocol that is impossible with so few images, such as kNN with more neighbours."""
    for name, settings in protocols if images else ():
        if problem := settings.problem(images.labelled):
            raise UserError(
                f"{recipe_file}: evaluation.{name}.{problem[0]}: {problem[1]} of {data}; write a smaller number"
            )


def check_schedule(schedule: Schedule, epochs: int, scale_file: str, recipe_file: str) -> None:
    """Raise ``UserError`` if the warm-up, or the warm-up and a plateau, take up the whole training."""
    held = getattr(schedule, "hold_epochs", 0)
    if schedule.warmup_epochs + held >= epochs:
        plateau = f" and a plateau of {held:g}" if held else ""
        raise UserError(
            f"{scale_file}: epochs: {epochs} leave nothing after a warm-up of {schedule.warmup_epochs} epochs{plateau} ({recipe_file}); "
            "increase epochs or shorten the warm-up"
        )


def late_notes(runs: list[PlannedRun]) -> list[str]:
    """Return a note for each setting tied to an epoch that its training does not reach. Some papers' own recipes have such settings."""
    late: dict[tuple[str, int], dict[str, None]] = {}
    for run in runs:
        spec = run["spec"]
        ((base, method),) = spec["method"].items()
        last, teacher, frozen = (
            max(spec["schedule"].get("milestones") or [0]),
            method.get("teacher_warmup_epochs") or 0,
            method.get("freeze_epochs") or 0,
        )
        for words, first in (  # the first epoch, counted from 0, that it affects
            (f"the learning rate's milestone at epoch {last}", last),
            (f"the end of the teacher's warm-up of {teacher} epochs", teacher - 1),
            (f"the end of the last layer's freeze of {frozen} epochs", frozen),
        ):
            if first >= spec["epochs"]:
                late.setdefault((words, spec["epochs"]), {})[base] = None
    return [
        f"{words} ({', '.join(bases)}) is not reached by a training of {epochs} epochs"
        for (words, epochs), bases in late.items()
    ]


def queue_notes(runs: list[PlannedRun], images_of: Callable[[str], Images | None]) -> list[str]:
    """Return a note for each data set smaller than a queue: not an error (it occurs in released code), but rarely intended."""
    too_large: dict[tuple[str, int], dict[str, None]] = {}
    for run in runs:
        ((base, method),) = run["spec"]["method"].items()
        images, queue = images_of(run["dataset"]), method.get("queue") or 0
        if images and queue > images.train:
            too_large.setdefault((run["dataset"], queue), {})[base] = None
    return [
        f"the queue of {queue:,} of {', '.join(bases)} is larger than the {images_of(data).train:,} training images of {data}: it "
        "contains images more than once"
        for (data, queue), bases in too_large.items()
    ]
