"""Compare a plan with the existing files: which runs are done, which would be trained, and the path of every file."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sslpairs.errors import Unreadable, UserError
from sslpairs.files import read_record, sha256_file, unwritable
from sslpairs.plan.baselines import identity
from sslpairs.plan.evaluations import Evaluation, find_parts
from sslpairs.plan.paths import (
    ENDINGS,
    EVALUATIONS,
    checkpoint_file,
    evaluation_file,
    metrics_file,
    pointer_file,
    product_stem,
    provenance_page,
    receipt_file,
    run_folder,
)
from sslpairs.plan.plan import Plan
from sslpairs.plan.pointers import pointer_of, read_pointer
from sslpairs.plan.records import Receipt, baseline_replicates, replicates
from sslpairs.plan.spec import digest


def is_whole(run: str, root: Path) -> bool:
    """Whether a run has its receipt along with the exact checkpoint and metrics that the receipt names. Raise ``Unreadable`` if
    this cannot be determined."""
    folder = root / run_folder(run)
    try:
        receipt = read_record(folder / "run.json", root)
        return receipt is not None and all(
            sha256_file(folder / name) == receipt[key]["sha256"]
            for name, key in (("checkpoint.pt", "checkpoint"), ("metrics.csv", "metrics"))
        )
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Unreadable(unwritable(error.filename or folder, error, "read")) from None
    except Unreadable:
        raise
    except UserError:
        return False


@dataclass(frozen=True)
class Build:
    """A plan and the folder it is built in."""

    plan: Plan
    root: Path
    damage: dict[str, str] = field(default_factory=dict, init=False)
    """Damaged records -> problem and remedy. Complete once all records have been checked (``check``)."""
    _read: dict[str, Evaluation | None] = field(default_factory=dict, init=False)

    # --- what exists ---------------------------------------------------------------------------------------------

    @cached_property
    def receipts(self) -> dict[str, Receipt]:
        """Receipts of the plan's runs. A run counts as done if it has one."""
        records = {run: self._record(str(receipt_file(run))) for run in self.plan.runs}
        for run, receipt in records.items():
            if not receipt or (receipt.get("run") == run and receipt["spec"] == self.plan.runs[run]["spec"]):
                continue
            if receipt.get("run") != run or digest(receipt["spec"]) != run[-12:]:
                name = str(receipt_file(run))
                self.damage[name] = (
                    f"{name}: the receipt of a different run ({receipt.get('run')}); restore the right one with "
                    f"`git checkout {name}`, or remove it: the next build then trains the run"
                )
        return {
            run: receipt
            for run, receipt in records.items()
            if receipt and str(receipt_file(run)) not in self.damage and self._look_at_metrics(run, receipt)
        }

    def _look_at_metrics(self, run: str, receipt: Receipt) -> bool:
        """Compare the metrics with the receipt. They are small, in git and plotted in figures, so this is done for every build. False
        if only the receipt is left: Snakemake was killed while it removed the outputs of a failed job."""
        name = str(metrics_file(run))
        try:
            if sha256_file(self.root / name) == receipt["metrics"]["sha256"]:
                return True
            wrong = "the metrics differ from those named in run.json"
        except FileNotFoundError:
            evaluated = any((self.root / EVALUATIONS / run).glob("*.json"))
            if not (self.has_checkpoint(run) or (self.root / pointer_file(run)).exists() or evaluated):
                return False
            wrong = "the metrics named in run.json are missing"
        except OSError as error:
            self.damage[name] = unwritable(name, error, "read")
            return True
        self.damage[name] = (
            f"{name}: {wrong}; restore them with `git checkout {name}` if they were committed, "
            f"else `sslpairs train {run}` recreates them"
        )
        return True

    @property
    def parts(self) -> dict[str, dict[str, str]]:
        """Evaluations that are spread over several files; see ``plan/evaluations.py``."""
        if self.plan.parts is None:
            self.plan.parts = find_parts(self)
        return self.plan.parts

    @property
    def evaluations(self) -> list[str]:
        """Evaluations of the plan that are files, one per job."""
        parts = self.parts
        return [name for name in self.plan.evaluations if name not in parts]

    def source(self, evaluation: str, protocol: str) -> str:
        """Return the evaluation that contains, or will contain, a protocol of this one."""
        return self.parts.get(evaluation, {}).get(protocol, evaluation)

    def sources(self, evaluation: str) -> list[str]:
        """Return all evaluations that contain parts of this one."""
        return list(dict.fromkeys(self.source(evaluation, p) for p in self.plan.evaluations[evaluation]["protocols"]))

    @cached_property
    def evaluated(self) -> set[str]:
        """Evaluations of the plan that are done for the checkpoint that the receipt names, and baselines that are done."""
        done = set()
        for name in (*self.evaluations, *self.plan.baselines):
            evaluation, baseline = self.evaluation(name), self.plan.baselines.get(name)
            receipt = None if baseline else self.receipts.get(self.plan.evaluations[name]["run"])
            if evaluation is None or not (baseline or receipt):
                continue
            weights = identity(baseline) if baseline else receipt["checkpoint"]["sha256"]
            if (evaluation.key, evaluation.checkpoint) == (name.rpartition("/")[2], weights):
                done.add(name)
            else:
                path = evaluation_file(name)
                self.damage[str(path)] = (
                    f"{path}: evaluates different weights or a different protocol than run.json and the recipe name; restore it with "
                    f"`git checkout {path}`, or remove it: the next build recreates it"
                )
        return done

    def evaluation(self, name: str) -> Evaluation | None:
        """Return the content of an evaluation's file; None if there is none, or if it is damaged, which ``damage`` then reports."""
        if name not in self._read:
            path = evaluation_file(name)
            try:
                self._read[name] = Evaluation.read(self.root / path, self.root)
            except UserError as error:
                self._read[name], self.damage[str(path)] = None, str(error)
        return self._read[name]

    def seal_of(self, name: str) -> str:
        """Return the digest of an evaluation's content. Raise ``UserError`` if it is missing or damaged."""
        evaluation, path = self.evaluation(name), evaluation_file(name)
        if evaluation is None:
            raise UserError(self.damage.get(str(path), f"{path}: missing; the next build creates it"))
        return evaluation.seal

    def _record(self, path: str) -> dict[str, Any] | None:
        try:
            return read_record(f"{self.root}/{path}", self.root)
        except UserError as error:
            self.damage[path] = str(error)
            return None

    @cached_property
    def damaged(self) -> list[str]:
        """One line for each damaged receipt, evaluation, metrics file or needed checkpoint of the plan."""
        _ = self.receipts, self.evaluated
        lines = list(self.damage.values())
        for run in self.needed:
            path = self.root / checkpoint_file(run)
            if run in self.receipts and path.exists():
                size, expected = path.stat().st_size, self.receipts[run]["checkpoint"]["bytes"]
                if size != expected:
                    lines.append(
                        f"{checkpoint_file(run)}: damaged ({size:,} bytes instead of {expected:,}); "
                        + (
                            f"`sslpairs restore {run}` fetches it"
                            if self.is_published(run)
                            else f"`sslpairs train {run}` recreates it"
                        )
                    )
        return lines

    @cached_property
    def to_evaluate(self) -> list[str]:
        """Evaluations that are missing."""
        return [name for name in self.evaluations if name not in self.evaluated]

    @cached_property
    def to_measure(self) -> list[str]:
        """Baselines that are missing."""
        return [name for name in self.plan.baselines if name not in self.evaluated]

    @cached_property
    def needed(self) -> dict[str, None]:
        """Runs whose checkpoint a build of the whole plan would read, including those that it must train first."""
        needed: dict[str, None] = {}
        stack = [self.plan.evaluations[name]["run"] for name in self.to_evaluate]
        stack += [
            guide for run in self.plan.runs if run not in self.receipts and (guide := self.plan.runs[run]["guide"])
        ]
        while stack:
            run = stack.pop()
            if run in needed:
                continue
            needed[run] = None
            trained = run not in self.receipts or not (self.has_checkpoint(run) or self.is_published(run))
            if trained and (guide := self.plan.runs[run]["guide"]):
                stack.append(guide)
        return needed

    @cached_property
    def to_train(self) -> dict[str, str]:
        """Runs that a build of the whole plan would train -> reason."""
        return {run: "new" for run in self.plan.runs if run not in self.receipts} | self.to_retrain

    @cached_property
    def to_retrain(self) -> dict[str, str]:
        """Finished runs whose checkpoint is needed, is missing, and was never published -> why they are trained again."""
        return {
            run: "its checkpoint is needed, but is missing and was never published"
            for run in self.needed
            if run in self.receipts and not self.has_checkpoint(run) and not self.is_published(run)
        }

    @cached_property
    def to_restore(self) -> list[str]:
        """Finished runs whose checkpoint is needed, is not on this machine, and was published."""
        return [
            run
            for run in self.needed
            if run in self.receipts and not self.has_checkpoint(run) and self.is_published(run)
        ]

    def has_checkpoint(self, run: str) -> bool:
        """Whether the checkpoint file exists. Its integrity is checked when it is read."""
        return (self.root / checkpoint_file(run)).exists()

    def is_published(self, run: str) -> bool:
        """Whether DVC tracks the run's checkpoint: ``sslpairs publish`` writes the pointer once the remote has it. A pointer to
        different weights than the receipt's does not count; a damaged one does, since restoring needs only the receipt."""
        try:
            pointer = read_pointer(run, self.root)
        except Unreadable:
            raise
        except UserError:
            return True
        receipt = self.receipts.get(run)
        return pointer is not None and (receipt is None or pointer == pointer_of(receipt))

    @cached_property
    def to_prepare(self) -> list[str]:
        """Data sets that are not prepared."""
        missing = []
        for name, entry in self.plan.datasets.items():
            path = Path("data") / name / "dataset.json"
            try:
                receipt = read_record(self.root / path, self.root)
            except Unreadable:
                raise
            except UserError:
                raise UserError(f"{path}: damaged; `sslpairs fetch {name} --force` prepares it again") from None
            if receipt is None or name in self.plan.unprepared:
                missing.append(name)
            elif receipt.get("content") != entry["content"]:
                raise UserError(
                    f"data/{name}: its content differs from the one recorded in data.dvc; `sslpairs fetch {name}` prepares it again"
                )
        return missing

    def needs(self, tables: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
        """Return the runs to train, evaluations to run and checkpoints to restore for these tables, including guides."""
        names = {name for table in tables for name in self.evaluations_of(table)}
        evaluations = [name for name in self.to_evaluate if name in names]
        trained, restored = self.behind(evaluations)
        return trained, evaluations, restored

    def behind(self, evaluations: Iterable[str], runs: Iterable[str] = ()) -> tuple[list[str], list[str]]:
        """Return the runs to train and checkpoints to restore for these evaluations and runs, including guides."""
        trained: dict[str, None] = {}
        restored: dict[str, None] = {}
        to_restore = set(self.to_restore)
        stack = [*runs, *(self.plan.evaluations[name]["run"] for name in evaluations)][::-1]
        while stack:
            run = stack.pop()
            if run in to_restore:
                restored[run] = None
            elif run in self.to_train and run not in trained:
                trained[run] = None
                if guide := self.plan.runs[run]["guide"]:
                    stack.append(guide)
        return list(trained), list(restored)

    def with_guides(self, runs: Iterable[str]) -> list[str]:
        """Return the runs and their guides."""
        return list(dict.fromkeys(name for run in runs for name in (self.plan.runs[run]["guide"], run) if name))

    def runs_of(self, table: str) -> list[str]:
        """Return the runs whose results are in a table."""
        return list(dict.fromkeys(replicate["run"] for replicate in replicates(self.plan.tables[table])))

    def threads(self, run: str) -> int:
        """Return the CPU threads of a training, summed over its processes."""
        return self.plan.scale["threads"] * self.plan.runs[run]["gpus"]

    # --- files ---------------------------------------------------------------------------------------------------

    def training_inputs(self, run: str) -> list[str]:
        """Return the data and, if there is a guide, its checkpoint: an edge in the DAG."""
        entry = self.plan.runs[run]
        files = [f"data/{entry['dataset']}/dataset.json"]
        return files + ([str(checkpoint_file(entry["guide"]))] if entry["guide"] else [])

    def evaluation_inputs(self, evaluation: str) -> list[str]:
        """Return the data, the checkpoint and its receipt."""
        entry = self.plan.evaluations[evaluation]
        run = entry["run"]
        return [
            f"data/{entry.get('dataset', self.plan.runs[run]['dataset'])}/dataset.json",
            str(checkpoint_file(run)),
            str(receipt_file(run)),
        ]

    def baseline_inputs(self, baseline: str) -> list[str]:
        """Return the data."""
        return [f"data/{self.plan.baselines[baseline]['dataset']}/dataset.json"]

    def evaluations_of(self, table: str) -> list[str]:
        """Return the evaluations and baselines from which a table is made."""
        planned = self.plan.tables[table]
        names = [source for replicate in replicates(planned) for source in self.sources(replicate["evaluation"])]
        names += [replicate["evaluation"] for replicate in baseline_replicates(planned)]
        return list(dict.fromkeys(names))

    def evaluation_files(self, table: str) -> list[str]:
        """Return the files of these evaluations, relative to the root."""
        return [str(evaluation_file(evaluation)) for evaluation in self.evaluations_of(table)]

    def stem(self, kind: str, name: str) -> str:
        """Return the path of a table or figure (``kind``: "tables" or "figures") without extension."""
        return str(product_stem(kind, self.plan.scale["name"], name))

    def files_of(self, kind: str, name: str) -> list[str]:
        """Return the files of a table or a figure, relative to the root."""
        return [f"{self.stem(kind, name)}.{ending}" for ending in ENDINGS[kind]]

    def outputs(self, table: str) -> list[str]:
        """Return the table's files and those of its figures."""
        figures = [file for figure in self.figures_of(table) for file in self.files_of("figures", figure)]
        return [*self.files_of("tables", table), *figures]

    def wanted(self, table: str) -> list[str]:
        """Return what a build of the table must produce: its outputs and the records behind them. Snakemake recreates a deleted
        evaluation or receipt only if it is requested by name: with the table on disk it would see nothing to do."""
        runs = self.runs_of(table)
        records = [str(receipt_file(run)) for run in runs]
        records += [str(metrics_file(run)) for run in runs if run not in self.receipts]
        return [*self.outputs(table), *self.evaluation_files(table), *records]

    def targets(self) -> dict[str, list[str]]:
        """Return the target names, one per paper and per table -> their tables."""
        papers: dict[str, list[str]] = {}
        for name, table in self.plan.tables.items():
            papers.setdefault(table["paper"], []).append(name)
        return papers | {name: [name] for name in self.plan.tables}

    def metrics_files(self, figure: str) -> list[str]:
        """Return the metrics files plotted in a figure of training curves; none for other kinds."""
        entry = self.plan.figures[figure]
        runs = self.runs_of(entry["table"]) if entry["kind"] == "curves" else []
        return [str(metrics_file(run)) for run in runs]

    def figure_inputs(self, figure: str) -> list[str]:
        """Return the inputs of a figure: its table, which represents its evaluations (listing thousands of files again would add
        nothing), and curves."""
        return [self.files_of("tables", self.plan.figures[figure]["table"])[0], *self.metrics_files(figure)]

    def figures_of(self, table: str) -> list[str]:
        """Return the ids of the figures that are drawn from a table."""
        return [name for name, figure in self.plan.figures.items() if figure["table"] == table]

    def provenance_inputs(self) -> list[str]:
        """Return the receipts of the selected tables, and the tables themselves, which represent their evaluations."""
        runs = dict.fromkeys(run for table in self.plan.selected for run in self.runs_of(table))
        return [
            *(str(receipt_file(run)) for run in runs),
            *(self.files_of("tables", table)[0] for table in self.plan.selected),
        ]

    def provenance_file(self) -> str:
        """Return the provenance page of the selected tables, keyed by its content."""
        plan = self.plan
        key = digest([[plan.tables[name]["key"] for name in plan.selected], plan.scale["name"]])
        return str(provenance_page(plan.scale["name"], key))
