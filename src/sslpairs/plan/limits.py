"""What cannot work, told when it is planned and not by each job: more images, neighbours or epochs than there are."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslpairs.config.optimization import Schedule
from sslpairs.errors import UserError
from sslpairs.files import read_json


@dataclass(frozen=True)
class Images:
    """How many images a data set has, and how large they are."""

    train: int
    test: int
    size: int
    channels: int

    @property
    def bytes(self) -> int:
        """Of all images as arrays."""
        return (self.train + self.test) * self.channels * self.size**2


def known_images(root: Path, name: str, config: dict[str, Any], content: str | None = None) -> Images | None:
    """From what was prepared, with this content if one is given, else from what ``config/datasets.yaml`` says; None where neither
    tells."""
    receipt = None
    with contextlib.suppress(UserError):  # a damaged one is told by those who read the images
        receipt = read_json(root / "data" / name / "dataset.json")
    if receipt and content in (None, receipt.get("content")):
        channels, size = receipt["image"][0], receipt["image"][-1]
        return Images(receipt["counts"]["train"], receipt["counts"]["test"], size, channels)
    source, expected = config["source"], config.get("expected")
    if source["kind"] == "digits":
        test = 10 * source["test_per_class"]
        return Images(1797 - test, test, source["size"], 1)
    return Images(expected["train"], expected["test"], source["size"], source["channels"]) if expected else None


def check_evaluation(images: Images | None, data: str, protocols: dict[str, Any], recipe_file: str) -> None:
    """``UserError`` for more neighbours of the kNN than the data set has training images."""
    neighbours = protocols["knn"]["neighbours"]
    if images and neighbours > images.train:
        raise UserError(
            f"{recipe_file}: evaluation.knn.neighbours: {neighbours:,} exceeds the {images.train:,} training images of {data}; write a "
            "smaller number"
        )


def check_schedule(schedule: Schedule, epochs: int, scale_file: str, recipe_file: str) -> None:
    """``UserError`` for a warm-up, or a warm-up and a plateau, as long as the training."""
    held = getattr(schedule, "hold_epochs", 0)
    if schedule.warmup_epochs + held >= epochs:
        plateau = f" and a plateau of {held:g}" if held else ""
        raise UserError(
            f"{scale_file}: epochs: {epochs} leave nothing after a warm-up of {schedule.warmup_epochs} epochs{plateau} ({recipe_file}); "
            "lengthen the one or shorten the other"
        )


def late_notes(runs: list[dict[str, Any]]) -> list[str]:
    """A note for each setting that waits for an epoch which its training does not reach: some papers' own recipes do."""
    found: dict[tuple[str, int], dict[str, None]] = {}
    for run in runs:
        spec = run["spec"]
        ((base, method),) = spec["method"].items()
        last, teacher, frozen = (
            max(spec["schedule"].get("milestones") or [0]),
            method.get("teacher_warmup_epochs") or 0,
            method.get("freeze_epochs") or 0,
        )
        for words, first in (  # the first epoch, counted from 0, that feels it
            (f"the learning rate's milestone at epoch {last}", last),
            (f"the end of the teacher's warm-up of {teacher} epochs", teacher - 1),
            (f"the end of the last layer's freeze of {frozen} epochs", frozen),
        ):
            if first >= spec["epochs"]:
                found.setdefault((words, spec["epochs"]), {})[base] = None
    return [
        f"{words} ({', '.join(bases)}) is not reached by a training of {epochs} epochs"
        for (words, epochs), bases in found.items()
    ]


def queue_notes(runs: list[dict[str, Any]], images_of: Callable[[str], Images | None]) -> list[str]:
    """A note for each data set that is smaller than a queue: no mistake (released code has it), and seldom meant."""
    found: dict[tuple[str, int], dict[str, None]] = {}
    for run in runs:
        ((base, method),) = run["spec"]["method"].items()
        images, queue = images_of(run["dataset"]), method.get("queue") or 0
        if images and queue > images.train:
            found.setdefault((run["dataset"], queue), {})[base] = None
    return [
        f"the queue of {queue:,} of {', '.join(bases)} is larger than the {images_of(data).train:,} training images of {data}: it "
        "holds images more than once"
        for (data, queue), bases in found.items()
    ]
