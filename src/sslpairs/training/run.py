"""Train one run: from its specification to a checkpoint, its metrics and, last, its receipt."""

import hashlib
import logging
import time
from datetime import UTC, datetime
from pathlib import Path

from sslpairs.backbones import checkpoint
from sslpairs.data.arrays import load
from sslpairs.distributed.device import configure_process, describe, memory_used, pick_device
from sslpairs.distributed.processes import current_world
from sslpairs.errors import Unreadable, UserError
from sslpairs.files import read_json, write_atomic, write_record
from sslpairs.plan.build import is_whole
from sslpairs.plan.fingerprint import training_code
from sslpairs.plan.paths import EVALUATIONS, run_folder
from sslpairs.plan.progress import live_metrics
from sslpairs.plan.records import Git, PlannedRun, Receipt, read_receipt
from sslpairs.plan.spec import RunSpec
from sslpairs.training.metrics import to_csv
from sslpairs.training.provenance import code_and_versions
from sslpairs.training.trainer import Progress, Trainer

log = logging.getLogger(__name__)


def train(
    run: str,
    entry: PlannedRun,
    root: Path,
    device: str,
    threads: int,
    progress: Progress | None = None,
    force: bool = False,
    compiled: bool = False,
    git: Git | None = None,
) -> Receipt | None:
    """Train a run of a plan and return its receipt; None on ranks other than 0, which write nothing.

    ``entry`` is the plan's entry of the run. Writes ``checkpoint.pt``, ``metrics.csv`` and, last, ``run.json`` into the
    run's folder; during training it also has a resumable ``last.ckpt`` and the metrics so far, written after every epoch.
    Raises ``UserError`` if the loss is not finite, or the data do not fit the recipe; then there is no receipt.

    A run whose checkpoint is gone keeps its receipt if the new weights are the same; ``force`` writes a new one.
    ``compiled`` compiles the networks with torch. ``git`` is the state of the repository as seen by another machine, in case there
    is no git here.
    """
    configure_process(threads)
    started = time.perf_counter()
    spec = RunSpec.model_validate(entry["spec"])
    torch_device = pick_device(device)
    folder = root / run_folder(run)
    world = current_world()
    if world.is_rank_zero:
        for leftover in folder.glob(".*.tmp"):  # of a process that was killed while writing
            leftover.unlink(missing_ok=True)
    guide = _checkpoint_of(entry["guide"], root)
    trainer = Trainer(run, spec, load(entry["dataset"], root, torch_device, spec.dataset), root, torch_device)
    provenance = code_and_versions(root, training_code(spec.base, tuple(spec.active), spec.backbone.kind), git)
    made_by = {"code": provenance["code"], "versions": provenance["versions"], "guide": guide, "compiled": compiled}
    if compiled:
        trainer.compile()
    rows = trainer.fit(folder / "last.ckpt", made_by, afresh=is_whole(run, root), progress=progress)
    if not world.is_rank_zero:
        return None

    content, metrics = checkpoint.to_bytes(trainer.checkpoint()), to_csv(rows).encode()
    sha256, md5 = hashlib.sha256(content).hexdigest(), hashlib.md5(content, usedforsecurity=False).hexdigest()  # DVC's
    facts = {
        "checkpoint": {"sha256": sha256, "md5": md5, "bytes": len(content)},
        "metrics": {"sha256": hashlib.sha256(metrics).hexdigest(), "bytes": len(metrics)},
    }
    try:
        earlier = read_receipt(run, root)
    except Unreadable:
        raise
    except UserError:
        earlier = None
    if earlier and not force and all(earlier[key] == fact for key, fact in facts.items()):
        write_atomic(folder / "checkpoint.pt", content)
        write_atomic(folder / "metrics.csv", metrics)
        _remove_meanwhile(folder)
        log.info("%s: the same weights and metrics as before, bit for bit: its receipt is kept", run)
        return earlier
    # From here until the end there is no receipt: it must never describe another checkpoint.
    (folder / "run.json").unlink(missing_ok=True)
    for evaluation in (root / EVALUATIONS / run).glob("*.json"):
        if (read_json(evaluation) or {}).get("checkpoint") != sha256:
            evaluation.unlink()  # of weights that no longer exist
    write_atomic(folder / "checkpoint.pt", content)
    write_atomic(folder / "metrics.csv", metrics)
    tested = [(row["online_top1"], row["epoch"]) for row in rows if row["online_top1"] is not None]
    best, best_epoch = max(tested, key=lambda pair: (pair[0], -pair[1]))
    receipt = {
        "format": 1,
        "run": run,
        "label": entry["label"],
        "dataset": entry["dataset"],
        "seed": spec.seed,
        "guide": entry["guide"],
        "guide_checkpoint": guide,
        "spec": entry["spec"],
        **facts,
        "online": {
            "last": rows[-1]["online_top1"],
            "best": best,
            "best_epoch": best_epoch,
            "answers": rows[-1]["online_answers"],
        },
        "loss": rows[-1]["loss"],
        "items": len(trainer.items),
        "steps": trainer.steps_per_epoch * spec.epochs,
        "notes": trainer.notes,
        "resumed_after": trainer.resumed,
        "device": describe(torch_device, threads),
        "threads": threads,
        "compiled": compiled,
        "memory": memory_used(torch_device),
        "timing": {
            "seconds": round(trainer.seconds + time.perf_counter() - started, 3),
            "images_per_second": round(sum(row["images_per_second"] for row in rows) / len(rows), 1),
        },
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance,
    }
    receipt = write_record(folder / "run.json", receipt)
    _remove_meanwhile(folder)
    return receipt


def _remove_meanwhile(folder: Path) -> None:
    """Remove files that exist only until the receipt does."""
    for path in (folder / "last.ckpt", live_metrics(folder)):
        path.unlink(missing_ok=True)


def _checkpoint_of(guide: str | None, root: Path) -> str | None:
    """sha256 of the guide's checkpoint, from its receipt."""
    receipt = guide and read_receipt(guide, root)
    return receipt["checkpoint"]["sha256"] if receipt else None
