"""Evaluations: the files under ``results/evals/<run>/``, and which file contains which protocol.

A file contains the protocols that one job measured, each with its settings. A protocol is done if a file of the run has it for the
current settings, data and weights, with all metrics that tables need. Missing protocols become an additional job, whose file is named
after just these protocols.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sslpairs.errors import UserError
from sslpairs.files import SEAL, read_record
from sslpairs.plan.answers import Coded
from sslpairs.plan.paths import evaluation_file
from sslpairs.plan.records import PlannedEvaluation
from sslpairs.plan.spec import digest

if TYPE_CHECKING:
    from sslpairs.plan.build import Build

FIRST_NAMES = {"last": "top1", "best": "best_top1"}
"""Names of metrics in receipts and in evaluations of format 1."""


def as_metrics(values: dict[str, float | None]) -> dict[str, float]:
    """Map current metric names to values."""
    return {FIRST_NAMES.get(name, name): value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of one checkpoint under some protocols."""

    run: str
    key: str
    protocols: dict[str, dict[str, float]]
    """Protocol -> metric -> value; accuracies in percent. ``best_top1`` is from the epoch ``best_epoch``, chosen on test images."""
    settings: dict[str, dict[str, Any]]
    """Protocol -> its settings; protocols measured during training have none here."""
    checkpoint: str
    """SHA-256 of the weights."""
    content: str | None
    """Content hash of the data, if different from the run's own."""
    code: str
    seal: str
    answers: dict[str, dict[str, Coded]] = field(default_factory=dict)
    """Protocol -> metric -> answers to single test images, where they were kept and asked for."""

    @classmethod
    def read(cls, path: Path, root: Path, with_answers: bool = False) -> Self | None:
        """Read a file, ``with_answers`` to single images or without: they are the larger part of it, and only claims need them.

        Return None if there is none; raise ``UserError`` if it is damaged.
        """
        record = read_record(path, root)
        if record is None:
            return None
        try:
            answers = record.get("answers", {}) if with_answers else {}
            return cls(
                run=record["run"],
                key=record["key"],
                protocols={name: as_metrics(values) for name, values in record["protocols"].items()},
                settings=record["settings"],
                checkpoint=record["checkpoint"],
                content=record.get("content"),
                code=record["code"],
                seal=record[SEAL],
                answers={name: dict(found) for name, found in answers.items()},
            )
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise UserError(
                f"{path.relative_to(root)}: not a valid evaluation ({error!r}); remove it: the next build recreates it"
            ) from None

    def has(self, protocol: str, settings: dict[str, Any] | None, metrics: Iterable[str]) -> bool:
        """Whether the protocol was measured with these settings and has all these metrics."""
        values = self.protocols.get(protocol)
        return values is not None and self.settings.get(protocol) == settings and values.keys() >= set(metrics)


def key_of(protocols: dict[str, Any], content: str | None = None) -> str:
    """Return the key of a job that measures these protocols; ``content`` is given if the data are not the run's own."""
    configured = {name: settings for name, settings in protocols.items() if settings is not None}
    return digest([configured, content]) if content else digest(configured)


def find_parts(build: "Build") -> dict[str, dict[str, str]]:
    """Find evaluations whose protocols are spread over several files; for each, map protocol -> evaluation that has it.

    Files with some of the protocols, and jobs for the missing ones, are added to the plan's evaluations.
    """
    plan, spread = build.plan, {}
    for name, entry in list(plan.evaluations.items()):
        receipt = build.receipts.get(entry["run"])
        own = build.evaluation(name)
        missing = [p for p in entry["protocols"] if not (own and own.has(p, entry["protocols"][p], entry["asked"][p]))]
        folder = (build.root / evaluation_file(name)).parent
        if receipt is None or not missing or not folder.exists():
            continue
        if own and own.checkpoint != receipt["checkpoint"]["sha256"]:
            continue
        parts, used = {p: name for p in entry["protocols"] if p not in missing}, []
        for other in _others(build, folder, name, receipt["checkpoint"]["sha256"], entry.get("content")):
            has = [p for p in missing if other.has(p, entry["protocols"][p], entry["asked"][p])]
            parts |= dict.fromkeys(has, f"{entry['run']}/{other.key}")
            missing = [p for p in missing if p not in has]
            used += [other] * bool(has)
        if own is None and all(p in missing for p, settings in entry["protocols"].items() if settings is not None):
            continue  # nothing but what the training measured: the job of the whole evaluation copies that, too
        for other in used:
            _add(build, entry, other.key, {p: other.settings.get(p) for p in other.protocols})
        if missing:
            protocols = {p: entry["protocols"][p] for p in missing}
            key = key_of(protocols, entry.get("content"))
            if (build.root / evaluation_file(f"{entry['run']}/{key}")).exists():  # it has them, except for a metric
                key = digest([key, entry["asked"]])
            parts |= dict.fromkeys(missing, _add(build, entry, key, protocols))
        spread[name] = parts
    return spread


def _others(build: "Build", folder: Path, name: str, checkpoint: str, content: str | None) -> Iterator[Evaluation]:
    """Yield the run's other evaluations of the same weights and data."""
    for path in sorted(folder.glob("*.json")):
        other = f"{path.parent.name}/{path.stem}"
        evaluation = build.evaluation(other) if other != name else None
        if evaluation and (evaluation.checkpoint, evaluation.content, evaluation.key) == (
            checkpoint,
            content,
            path.stem,
        ):
            yield evaluation


def _add(build: "Build", entry: PlannedEvaluation, key: str, protocols: dict[str, Any]) -> str:
    """Add an evaluation with these protocols to the plan and return its name."""
    name = f"{entry['run']}/{key}"
    asked = {protocol: entry["asked"].get(protocol, []) for protocol in protocols}
    build.plan.evaluations.setdefault(name, entry | {"key": key, "protocols": protocols, "asked": asked})
    return name
