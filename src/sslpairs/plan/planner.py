"""Papers and a scale become runs, evaluations and table cells, as plain data."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from sslpairs.config.changes import ROOMS, set_value
from sslpairs.config.labels import parse_label, partners
from sslpairs.config.methods import METHODS
from sslpairs.config.papers import Claim, Paper, Setting, Table
from sslpairs.config.reading import Config
from sslpairs.config.recipes import Recipe
from sslpairs.config.remedies import explain
from sslpairs.config.strategies import STRATEGIES
from sslpairs.errors import UserError, listed, nearest, shown
from sslpairs.files import canonical
from sslpairs.plan.fingerprint import paper_code
from sslpairs.plan.limits import (
    Images,
    check_evaluation,
    check_schedule,
    known_images,
    late_notes,
    queue_notes,
)
from sslpairs.plan.spec import RunSpec, digest


@dataclass
class Plan:
    """Everything that a build may do. Plain JSON values throughout, so that it can be frozen in a file."""

    settings: dict[str, Any]
    scale: dict[str, Any]
    datasets: dict[str, dict[str, Any]]
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """run id -> label, dataset, backbone, seed, spec, gpus, guide (run id or null)."""
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    """'run id/key' -> run, key, protocols; dataset and content where it is not on the run's own data."""
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    selected: list[str] = field(default_factory=list)
    """The tables that were asked for; a plan may hold others, so that they can be named as targets."""
    git: dict[str, Any] | None = None
    """Commit and dirtiness, where the jobs' machines may have no git."""
    left_out: list[str] = field(default_factory=list)
    """Optional tables that nobody asked for: not planned, so that they cost nothing."""
    notes: list[str] = field(default_factory=list)
    """What is no mistake for certain and seldom meant, a line each."""


class _NotAtThisScale(UserError):
    """A table that has a setting for which the scale has nothing to stand."""


@dataclass(frozen=True)
class _Place:
    """A paper's setting, mapped to the scale."""

    dataset: str
    backbone: Any
    batch_size: int
    epochs: int
    augmentation: str | None
    changes: tuple[tuple[str, Any], ...]
    evaluate_on: str | None = None
    """The data set of the evaluation where it is not the one of the training."""
    guide_batch: int | None = field(default=None, compare=False)
    """Batch size of a guide's run, as the paper says it; None for the scale's default."""


def make_plan(config: Config, contents: dict[str, str], strict: bool = False) -> Plan:
    """Plan every table that can be planned, but for optional tables that nobody asked for.

    ``contents`` maps prepared data sets to their content hash. Tables that were asked for must be possible; others are left out
    silently, and so are optional ones for which the scale is not made, unless they were named. ``strict`` leaves out just those
    for which the scale is not made, asked for or not.
    """
    settings = config.settings
    plan = Plan(
        settings=settings.model_dump(mode="json"),
        scale={
            "name": config.scale_name,
            "title": config.scale.title,
            "recipes": config.scale.recipes,
            "threads": config.scale.threads,
            "compile": config.scale.compile,
        },
        datasets={},
    )
    planner = _Planner(config, contents, plan)
    for paper_id, paper in config.papers.items():
        planner.check_schedules(paper_id, paper)
        for table_id, table in paper.tables.items():
            wanted = config.is_chosen(paper_id, table_id)
            if table.optional and not wanted:
                plan.left_out.append(table_id)
                continue
            named = isinstance(settings.tables, list) or (isinstance(settings.papers, list) and not table.optional)
            try:
                planner.add_table(paper_id, paper, table_id, table)
            except _NotAtThisScale:
                if wanted and not strict and (named or not (table.optional or paper.optional)):
                    raise
                continue
            except UserError:
                if strict or wanted:
                    raise
                continue
            if wanted:
                plan.selected.append(table_id)
        planner.add_figures(paper_id, paper)
    cells = [cell for table in plan.selected for cell in plan.tables[table]["cells"]]
    runs = [plan.runs[replicate["run"]] for cell in cells for replicate in cell["replicates"][:1]]
    plan.notes = config.notes + queue_notes(runs, planner.images_of) + late_notes(runs)
    return plan


class _Planner:
    def __init__(self, config: Config, contents: dict[str, str], plan: Plan):
        self.config, self.contents, self.plan = config, contents, plan
        self.table_code = paper_code()
        self.changed: dict[str, Recipe] = {}
        self.specs: dict[tuple, tuple] = {}
        self.images: dict[str, Images | None] = {}

    def images_of(self, dataset: str) -> Images | None:
        """How many images a data set has, where that is known."""
        if dataset not in self.images:
            config = self.config.datasets[dataset].model_dump(mode="json")
            self.images[dataset] = known_images(self.config.root, dataset, config, self.contents.get(dataset))
        return self.images[dataset]

    def check_schedules(self, paper_id: str, paper: Paper) -> None:
        """``UserError`` for a schedule that leaves nothing of a training, of tables that nobody asked for, too."""
        for table_id, table in paper.tables.items():
            try:
                self._begin(paper_id, table_id)
                recipes = [(place, self._recipe(place)) for place in self._columns(table).values()]
                bases = {parse_label(row).base for row in table.rows}
            except UserError:
                continue  # told where the table is planned
            for place, recipe in recipes:
                for method in filter(None, (getattr(recipe.methods, base) for base in sorted(bases))):
                    change = method.training
                    schedule = (change and change.schedule) or recipe.training.schedule
                    check_schedule(schedule, place.epochs, self.config.scale_file, self.recipe_file)

    def _begin(self, paper_id: str, table_id: str) -> None:
        self.where, self.paper_id = f"config/papers/{paper_id}.yaml: tables.{table_id}", paper_id
        self.recipe, self.recipe_file = self.config.recipe_of(paper_id)

    # --- tables --------------------------------------------------------------------------------------------------

    def add_table(self, paper_id: str, paper: Paper, table_id: str, table: Table) -> None:
        """Plan one table, with its runs and evaluations."""
        self._begin(paper_id, table_id)
        protocols = self.recipe.evaluation.model_dump(mode="json")
        rows = {}
        for text in table.rows:
            label = self._label(text, "rows")
            if str(label) in rows:
                raise UserError(f"{self.where}.rows: '{shown(text)}' stands twice; keep one")
            rows[str(label)] = label
        columns = self._columns(table)
        if "online" in table.metrics and any(c.evaluate_on for c in (table.setting, *table.columns)):
            raise UserError(
                f"{self.where}.metrics: 'online' is measured on the data of the training, and the table has evaluate_on; leave "
                "'online' out"
            )
        draft = Plan(settings={}, scale={}, datasets={})
        cells = []
        used: dict[str, None] = {}
        for row, label in rows.items():
            for column, place in columns.items():
                evaluating = self._evaluating(protocols, place)
                used |= {evaluating["dataset"]: None} if "dataset" in evaluating else {}
                replicates = []
                for seed in self.config.settings.seeds:
                    run = self._run(draft, label, place, seed)
                    evaluation = f"{run}/{evaluating['key']}"
                    draft.evaluations[evaluation] = {"run": run, **evaluating}
                    replicates.append({"seed": seed, "run": run, "evaluation": evaluation})
                cells.append({"row": row, "column": column, "replicates": replicates})
        entry = {
            "id": table_id,
            "paper": paper_id,
            "paper_title": paper.title,
            "arxiv": paper.arxiv,
            "title": table.title,
            "axes": table.axes,
            "note": table.note,
            "scale": self.config.scale_name,
            "scale_title": self.config.scale.title,
            "rows": [
                {"id": row, "label": label.title, "base": label.base, "strategies": list(label.strategies)}
                for row, label in rows.items()
            ],
            "columns": self._column_entries(table, columns),
            "metrics": list(table.metrics),
            "cells": cells,
            "claims": self._claims(table_id, table, rows, columns),
            "published": self._published(table, rows, columns),
        }
        entry["key"] = digest([entry, self.table_code])
        self.plan.tables[table_id] = entry
        for run, entry in draft.runs.items():  # of several tables, the one that asks for most GPUs counts
            known = self.plan.runs.setdefault(run, entry)
            known["gpus"] = max(known["gpus"], entry["gpus"])
        self.plan.evaluations |= draft.evaluations
        for name in dict.fromkeys([run["dataset"] for run in draft.runs.values()]) | used:
            dataset = self.config.datasets[name]
            self.plan.datasets[name] = {
                "title": dataset.title,
                "content": self.contents[name],
                "config": dataset.model_dump(mode="json"),
            }

    def _evaluating(self, protocols: dict[str, Any], place: _Place) -> dict[str, Any]:
        """What an evaluation is, but for its run. Its key holds the data where these are not the run's own."""
        name = place.evaluate_on
        data = name or place.dataset
        check_evaluation(self.images_of(data), f"data set '{data}' ({self.where})", protocols, self.recipe_file)
        if name is None:
            return {"key": digest(protocols), "protocols": protocols}
        content = self._content(name)
        return {"key": digest([protocols, content]), "protocols": protocols, "dataset": name, "content": content}

    def _content(self, dataset: str) -> str:
        if dataset not in self.contents:
            raise UserError(
                f"data set '{dataset}' is not prepared, so its content is not known: run `sslpairs fetch {dataset}`"
            )
        return self.contents[dataset]

    def add_figures(self, paper_id: str, paper: Paper) -> None:
        """Figures of the tables that could be planned."""
        code = self.table_code
        for figure_id, figure in paper.figures.items():
            if figure.table not in paper.tables:
                hint = nearest(figure.table, list(paper.tables))
                raise UserError(
                    f"config/papers/{paper_id}.yaml: figures.{figure_id}.table: '{shown(figure.table)}' is no table of this paper{hint}"
                )
            if figure.kind != "curves" and figure.metric not in (metrics := paper.tables[figure.table].metrics):
                raise UserError(
                    f"config/papers/{paper_id}.yaml: figures.{figure_id}.metric: '{figure.metric}' is not among those of table "
                    f"'{figure.table}' ({', '.join(metrics)})"
                )
            if figure.table in self.plan.tables:
                entry = {"id": figure_id, "paper": paper_id, **figure.model_dump(mode="json")}
                entry["key"] = digest([entry, self.plan.tables[figure.table]["key"], code])
                self.plan.figures[figure_id] = entry

    def _label(self, text: str, where: str):
        try:
            return parse_label(text)
        except UserError as error:
            raise UserError(f"{self.where}.{where}: {error}") from None

    # --- columns -------------------------------------------------------------------------------------------------

    def _place(self, *settings: Setting) -> _Place:
        """The last setting that names a value wins; then the scale says what stands for it."""
        value: dict[str, Any] = {"set": {}}
        for setting in settings:
            given = setting.model_dump(exclude_none=True)
            value["set"] = value["set"] | given.pop("set")
            value |= given
        unnamed = self._unnamed(value.get("dataset"))
        value = unnamed | value
        dataset = self._mapped("datasets", value.get("dataset"))
        evaluate_on = self._mapped("datasets", value["evaluate_on"]) if "evaluate_on" in value else dataset
        for name in (dataset, evaluate_on):
            if name not in self.config.datasets:
                hint = nearest(name, list(self.config.datasets))
                raise UserError(
                    f"{self.config.scale_file}: datasets: '{shown(name)}' is not in config/datasets.yaml{hint}"
                )
        return _Place(
            dataset,
            self._mapped("backbones", value.get("backbone")),
            self._mapped("batch_sizes", value.get("batch_size")),
            self._mapped("epochs", value.get("epochs")),
            value.get("augmentation"),
            tuple(sorted(value["set"].items())),
            evaluate_on if evaluate_on != dataset else None,
            unnamed.get("batch_size"),
        )

    def _unnamed(self, dataset: str | None) -> dict[str, Any]:
        """What the scale says for this paper's tables where they name nothing."""
        own = self.config.scale.unnamed.get(self.paper_id, {})
        value: dict[str, Any] = {}
        for key in ("default", str(dataset)):
            if key in own:
                value |= own[key].model_dump(exclude_none=True)
        return value

    def _mapped(self, kind: str, value: Any) -> Any:
        table = getattr(self.config.scale, kind)
        for key in (str(value), "default"):
            if key in table:
                return table[key]
        known = listed(table)
        if value is None:
            raise _NotAtThisScale(
                f"{self.config.scale_file}: {kind}: there is no 'default', and {self.where} names none; add one"
            )
        raise _NotAtThisScale(
            f"{self.config.scale_file}: {kind}: nothing stands for '{shown(value)}' ({self.where}); add it, or a default (known: {known})"
        )

    def _columns(self, table: Table) -> dict[str, _Place]:
        """Settings that the scale maps to the same place are one column."""
        places: list[_Place] = []
        for column in table.columns:
            place = self._place(table.setting, column)
            if place not in places:
                places.append(place)
        return {f"c{number}": place for number, place in enumerate(places)}

    def _column_entries(self, table: Table, columns: dict[str, _Place]) -> list[dict[str, Any]]:
        entries = []
        for name, place in columns.items():
            facts = {
                "dataset": self.config.datasets[place.dataset].title,
                "backbone": place.backbone.label,
                "batch_size": place.batch_size,
                "epochs": place.epochs,
                "augmentation": place.augmentation or self.recipe.training.augmentation,
                **({"evaluated on": self.config.datasets[place.evaluate_on].title} if place.evaluate_on else {}),
                **{key: _in_words(item) for key, item in place.changes},
            }
            stands_for = [
                _describe(table.setting, column)
                for column in table.columns
                if self._place(table.setting, column) == place
            ]
            entries.append({"id": name, "settings": facts, "dataset": facts["dataset"], "stands_for": stands_for})
        keys = dict.fromkeys(key for entry in entries for key in entry["settings"])
        varying = [key for key in keys if len({str(e["settings"].get(key)) for e in entries}) > 1]
        words = {"batch_size": "batch {}", "epochs": "{} epochs", "augmentation": "{} augmentation"}
        for entry in entries:
            facts = entry["settings"]
            parts = [
                words.get(key, "{}" if key in words or "." not in key else key + " {}").format(facts[key])
                for key in varying
                if key in facts
            ]
            entry["label"] = ", ".join(parts) or facts["dataset"]
        return entries

    # --- claims and published values -----------------------------------------------------------------------------

    def _fitting(self, table: Table, columns: dict[str, _Place], where: Setting) -> list[str]:
        """Columns that stand for at least one of the paper's settings that agree with ``where``."""
        wanted = where.model_dump(exclude_none=True, exclude={"set"}) | where.set
        fitting = []
        for column in table.columns:
            facts: dict[str, Any] = {}
            for setting in (table.setting, column):
                facts |= setting.model_dump(exclude_none=True, exclude={"set"}) | setting.set
            if all(facts.get(key) == value for key, value in wanted.items()):
                place = self._place(table.setting, column)
                fitting += [name for name, other in columns.items() if other == place and name not in fitting]
        return fitting

    def _claims(self, table_id: str, table: Table, rows: dict, columns: dict[str, _Place]) -> list[dict[str, Any]]:
        entries = []
        labels = {entry["id"]: entry["label"] for entry in self._column_entries(table, columns)}
        for number, claim in enumerate(table.all_claims()):
            where = f"{self.where}.claims[{number}]"
            better, than = self._row(claim.better, rows, where), self._row(claim.than, rows, where)
            if claim.metric not in table.metrics:
                raise UserError(
                    f"{where}: metric '{claim.metric}' is not among the table's ({', '.join(table.metrics)})"
                )
            fitting = self._fitting(table, columns, claim.where)
            if not fitting:
                raise UserError(f"{where}: where fits no column of the table; mend it")
            base = {
                "text": claim.text,
                "metric": claim.metric,
                "source": claim.source,
                "published": self._published_effect(table, claim),
            }
            if claim.larger_than_in is None:
                for column in fitting:
                    setting = labels[column] if len(columns) > 1 else ""
                    terms = _gain(better, than, column, 1)
                    entries.append({"id": f"{table_id}-{number}-{column}", **base, "setting": setting, "terms": terms})
                continue
            others = self._fitting(table, columns, claim.larger_than_in)
            if not others:
                raise UserError(f"{where}: larger_than_in fits no column of the table; mend it")
            named = {key for side in (claim.where, claim.larger_than_in) for key in side.model_dump(exclude_none=True)}
            pairs = [(a, b) for a in fitting for b in others if a != b and b not in fitting]
            # Compare like with like: columns that differ only in what the claim names, where there are such.
            alike = [(a, b) for a, b in pairs if _alike(columns[a], columns[b], named)]
            # At a scale that merges the two columns the comparison cannot be made: there is nothing to test.
            for number_of_pair, (a, b) in enumerate(alike or pairs[:1]):
                terms = _gain(better, than, a, 1) + _gain(better, than, b, -1)
                setting = f"{labels[a]} against {labels[b]}"
                name = f"{table_id}-{number}" + (f"-{number_of_pair}" if number_of_pair else "")
                entries.append({"id": name, **base, "setting": setting, "terms": terms})
        return entries

    def _published_effect(self, table: Table, claim: Claim) -> dict[str, Any] | None:
        if claim.published is None:
            return None
        effect = claim.published
        return {
            "value": effect.value,
            "unit": "points",
            "setting": _describe(effect.setting) + (f" ({effect.note})" if effect.note else ""),
            "source": effect.source,
            "comparable": self._comparable(table.setting, effect.setting),
        }

    def _published(self, table: Table, rows: dict, columns: dict[str, _Place]) -> list[dict[str, Any]]:
        entries = []
        for number, value in enumerate(table.published):
            where = f"{self.where}.published[{number}]"
            row = self._row(value.row, rows, where)
            if value.metric not in table.metrics:
                raise UserError(
                    f"{where}: metric '{value.metric}' is not among the table's ({', '.join(table.metrics)})"
                )
            fitting = self._fitting(table, columns, value.setting)
            if not fitting:
                raise UserError(f"{where}: setting fits no column of the table; mend it")
            entries += [
                {
                    "row": row,
                    "column": column,
                    "metric": value.metric,
                    "value": value.value,
                    "setting": _describe(value.setting) + (f" ({value.note})" if value.note else ""),
                    "source": value.source,
                    "comparable": self._comparable(table.setting, value.setting),
                }
                for column in fitting
            ]
        return entries

    def _row(self, text: str, rows: dict, where: str) -> str:
        """The row that a label names, however its strategies are ordered."""
        try:
            row = str(parse_label(text))
        except UserError:
            row = text
        if row not in rows:
            raise UserError(f"{where}: '{shown(text)}' is no row of the table{nearest(text, list(rows))}")
        return row

    def _comparable(self, *settings: Setting) -> bool:
        """Whether the scale trains in the published setting itself: the named data set and network, and the same
        batch size and epochs where they are named."""
        value: dict[str, Any] = {}
        for setting in settings:
            value |= setting.model_dump(exclude_none=True, exclude={"set", "augmentation"})
        scale = self.config.scale
        named = all(value[key] in getattr(scale, f"{key}s") for key in ("dataset", "backbone") if key in value)
        same = all(
            self._mapped(kind, value[key]) == value[key]
            for key, kind in (("batch_size", "batch_sizes"), ("epochs", "epochs"))
            if key in value
        )
        return scale.comparable and "dataset" in value and named and same

    # --- runs ----------------------------------------------------------------------------------------------------

    def _recipe(self, place: _Place) -> Recipe:
        """The scale's recipe with the column's dotted changes, validated anew."""
        if not place.changes:
            return self.recipe
        key = canonical([self.recipe_file, place.changes])
        if key not in self.changed:
            value = self.recipe.model_dump()
            for name, new in place.changes:
                _change(value, name, new, self.where)
                _let_through(value, name)
            try:
                self.changed[key] = Recipe.model_validate(value)
            except ValidationError as error:
                raise UserError(explain(error, Recipe, f"{self.where}: set", None, {})) from None
        return self.changed[key]

    def _run(self, draft: Plan, label, place: _Place, seed: int) -> str:
        """Add one run (and its guide's), and answer its id."""
        recipe = self._recipe(place)
        # Runs of other seeds are alike: thousands of runs come from some tens of recipes.
        like = (id(recipe), str(label), id(place.backbone), place.dataset, place.batch_size, place.epochs)
        like = (*like, place.augmentation)
        if like not in self.specs:
            self.specs[like] = self._spec(recipe, label, place)
        spec, augmentation, gpus, guides = self.specs[like]
        spec = spec | {"seed": seed}
        guide = None
        for name, settings in guides.items():
            earlier, guide = guide, self._guide(draft, settings, place, seed)
            if earlier not in (None, guide):
                raise UserError(
                    f"{self.recipe_file}: strategies: '{label}' would need two guides ({earlier} and {guide}), and a run has "
                    f"one; give them the same guide ({self.where})"
                )
            value = spec["strategies"][name]
            value = value | {"guide": value["guide"] | {"run": guide}}
            spec["strategies"] = spec["strategies"] | {name: value}
        name = f"{label}-{place.dataset}-{augmentation}-b{place.batch_size}-s{seed}-{digest(spec)}"
        draft.runs[name] = {
            "label": str(label),
            "dataset": place.dataset,
            "backbone": place.backbone.label,
            "augmentation": augmentation,
            "seed": seed,
            "gpus": gpus,
            "guide": guide,
            "spec": spec,
        }
        return name

    def _spec(self, recipe: Recipe, label, place: _Place) -> tuple[dict[str, Any], str, int, dict[str, Any]]:
        """A run's specification as JSON values, but for the seed and the name of a guide; its augmentation's name; how many GPUs
        train it; and for each strategy that is guided by a run, that guide as the recipe has it."""
        method = getattr(recipe.methods, label.base)
        if method is None:
            known = ", ".join(name for name in METHODS if getattr(recipe.methods, name))
            raise UserError(
                f"{self.recipe_file}: methods: no values for '{label.base}', which {self.where} needs; add them (known: {known})"
            )
        training = recipe.training
        change = method.training
        augmentation = place.augmentation or (change and change.augmentation) or training.augmentation
        if augmentation not in recipe.augmentations:
            hint = nearest(augmentation, list(recipe.augmentations))
            raise UserError(f"{self.where}: augmentation: '{shown(augmentation)}' is not in {self.recipe_file}{hint}")
        content = self._content(place.dataset)
        self._check_changes(recipe, label, place)
        base, strategies, guides = METHODS[label.base], {}, {}
        images = self._check_batch(label, place)
        for name in label.strategies:
            settings = recipe.strategy(label.base, name)
            if settings is None:
                raise UserError(
                    f"{self.recipe_file}: strategies: no values for '{name}', which {self.where} needs; add them"
                )
            settings = settings.under(base)
            if problem := settings.problem(base, place.batch_size, images, f"data set '{place.dataset}'"):
                file = self.config.scale_file if problem.key == "batch_sizes" else self.recipe_file
                raise UserError(f"{file}: {problem.key}: {problem.text} ({self.where})")
            value = settings.model_dump()
            if settings.guided() and settings.guide.kind == "run":
                guides[name] = settings.guide
                value["guide"] = {"kind": "checkpoint", "run": "", "layer": settings.guide.layer}
            strategies[name] = value
        gpus = (change and change.gpus) or training.gpus
        together, words = partners(label.strategies)
        if place.batch_size % (gpus * together):
            key = f"methods.{label.base}.training.gpus" if change and change.gpus else "training.gpus"
            raise UserError(
                f"{self.recipe_file}: {key}: a batch of {place.batch_size} cannot be shared equally by {gpus} GPUs{words}; write a "
                f"number that divides it ({self.where})"
            )
        schedule = (change and change.schedule) or training.schedule
        check_schedule(schedule, place.epochs, self.config.scale_file, self.recipe_file)
        spec = RunSpec.model_validate(
            {
                "dataset": content,
                "backbone": place.backbone.model_dump(),
                "method": {label.base: method.model_dump()},
                "strategies": strategies,
                "augmentation": recipe.augmentations[augmentation].model_dump(),
                "optimizer": ((change and change.optimizer) or training.optimizer).model_dump(),
                "schedule": schedule.model_dump(),
                "online": training.online.model_dump(),
                "precision": training.precision,
                "batch_size": place.batch_size,
                "epochs": place.epochs,
                "seed": 0,
            }
        )
        return spec.plain(), augmentation, gpus, guides

    def _check_batch(self, label, place: _Place) -> int | None:
        """How many training images there are, where that is known. ``UserError`` where a batch has more."""
        images = self.images_of(place.dataset)
        longer = any(STRATEGIES[name].lengthens for name in label.strategies)
        if images and not longer and place.batch_size > images.train:
            raise UserError(
                f"{self.config.scale_file}: batch_sizes: a batch of {place.batch_size:,} exceeds the {images.train:,} training images "
                f"of data set '{place.dataset}'; write a smaller number ({self.where})"
            )
        return images.train if images else None

    def _check_changes(self, recipe: Recipe, label, place: _Place) -> None:
        """``UserError`` for a column's change that this row would not feel although it is meant to."""
        own = getattr(recipe.methods, label.base).training
        for key, _ in place.changes:
            words = [word for word in key.split(".") if word not in ("training", "strategies")]
            if own and words[0] in ("augmentation", "optimizer", "schedule") and getattr(own, words[0]) is not None:
                raise UserError(
                    f"{self.where}: set: '{key}': '{label}' has an {words[0]} of its own (methods.{label.base}.training), which "
                    f"would stay; name that one instead"
                )
            if words[0] not in label.strategies or len(words) != 2:
                continue
            if unused := STRATEGIES[words[0]].unused(words[1], METHODS[label.base]):
                raise UserError(f"{self.where}: set: '{key}': {unused}; leave '{label}' out of the table")

    def _guide(self, draft: Plan, guide, place: _Place, seed: int) -> str:
        """The run that a guide names: on the same data, with the same network, at the scale's default batch size."""
        try:
            label = parse_label(guide.method)
        except UserError as error:
            raise UserError(f"{self.recipe_file}: guide.method: {error}") from None
        if any(STRATEGIES[name].guided() for name in label.strategies):
            guided = " and ".join(strategy.title for strategy in STRATEGIES.values() if strategy.guided())
            raise UserError(
                f"{self.recipe_file}: guide.method: '{shown(guide.method)}' needs a guide itself; name a method without {guided}"
            )
        at = _Place(
            place.dataset,
            place.backbone,
            self._mapped("batch_sizes", place.guide_batch),
            place.epochs,
            guide.augmentation,
            (),
        )
        return self._run(draft, label, at, seed)


def _gain(better: str, than: str, column: str, sign: int) -> list[dict[str, Any]]:
    return [
        {"row": better, "column": column, "weight": sign},
        {"row": than, "column": column, "weight": -sign},
    ]


def _alike(a: _Place, b: _Place, but: set[str]) -> bool:
    """Whether two places agree in everything except the named keys."""
    names = [name for name in vars(a) if name not in but and name not in ("changes", "guide_batch")]
    return all(getattr(a, name) == getattr(b, name) for name in names) and ("set" in but or a.changes == b.changes)


def _in_words(value: Any) -> Any:
    """A changed value as tables show it: of a guide, its kind and its method."""
    return " ".join(str(value[key]) for key in ("kind", "method") if key in value) if isinstance(value, dict) else value


def _describe(*settings: Setting) -> str:
    """A setting in words, for example 'ImageNet, ResNet-50, batch 1024'."""
    value: dict[str, Any] = {}
    for setting in settings:
        given = setting.model_dump(exclude_none=True)
        value = value | {key: item for key, item in given.items() if key != "set"} | given["set"]
    words = {"batch_size": "batch {}", "epochs": "{} epochs", "augmentation": "{} augmentation"}
    words["evaluate_on"] = "evaluated on {}"
    order = ["dataset", "backbone", "batch_size", "epochs", "augmentation", "evaluate_on"]
    keys = sorted(value, key=lambda key: order.index(key) if key in order else len(order))
    known = {key: _in_words(value[key]) for key in keys}
    return ", ".join(words.get(key, "{}" if key in order else f"{key} {{}}").format(known[key]) for key in keys)


def _let_through(value: dict, key: str) -> None:
    """A changed value of a strategy holds for all methods: their own values of it go."""
    words = [word for word in key.split(".") if word != "strategies"]
    if words[0] in value["strategies"] and len(words) > 1:
        for method in value["methods"].values():
            (method or {}).get("strategies", {}).get(words[0], {}).pop(words[1], None)


def _change(value: dict, key: str, new: Any, where: str) -> None:
    """Set a dotted key of a recipe; the first word may leave out 'methods', 'strategies' or 'training'."""
    if key.split(".")[0] in ("title", "about", "evaluation"):
        raise UserError(f"{where}: set: '{shown(key)}': a column changes the training only; change the recipe itself")
    set_value(value, key, new, f"{where}: set", ROOMS)
