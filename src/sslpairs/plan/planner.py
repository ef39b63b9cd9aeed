"""Papers and a scale become runs, evaluations and table cells, as plain data."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from sslpairs.config.methods import BASES, parse_label
from sslpairs.config.papers import Claim, Paper, Setting, Table
from sslpairs.config.reading import Config, explain
from sslpairs.config.recipes import Recipe
from sslpairs.errors import UserError, nearest
from sslpairs.plan.fingerprint import fingerprint
from sslpairs.plan.spec import RunSpec, digest, run_id


@dataclass
class Plan:
    """Everything that a build may do. Plain JSON values throughout, so that it can be frozen in a file."""

    settings: dict[str, Any]
    scale: dict[str, Any]
    datasets: dict[str, dict[str, Any]]
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """run id -> label, dataset, backbone, seed, spec, guide (run id or null)."""
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    """'run id/key' -> run, key, protocols."""
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    selected: list[str] = field(default_factory=list)
    """The tables that were asked for; a plan may hold others, so that they can be named as targets."""


@dataclass(frozen=True)
class _Place:
    """A paper's setting, mapped to the scale."""

    dataset: str
    backbone: Any
    batch_size: int
    epochs: int
    augmentation: str | None
    changes: tuple[tuple[str, Any], ...]


def make_plan(config: Config, contents: dict[str, str]) -> Plan:
    """Plan every table that can be planned.

    ``contents`` maps prepared data sets to their content hash. Tables that were asked for must be possible;
    others are left out silently, since the scale may not be made for them.
    """
    settings = config.settings
    plan = Plan(
        settings=settings.model_dump(mode="json"),
        scale={
            "name": config.scale_name,
            "title": config.scale.title,
            "recipe": config.scale.recipe,
            "threads": config.scale.threads,
        },
        datasets={},
    )
    planner = _Planner(config, contents, plan)
    for paper_id, paper in config.papers.items():
        for table_id, table in paper.tables.items():
            wanted = (settings.papers == "all" or paper_id in settings.papers) and (
                settings.tables == "all" or table_id in settings.tables
            )
            try:
                planner.add_table(paper_id, paper, table_id, table)
            except UserError:
                if wanted:
                    raise
                continue
            if wanted:
                plan.selected.append(table_id)
        planner.add_figures(paper_id, paper)
    if not plan.selected:
        raise UserError(
            "config/config.yaml: tables: none of these tables belongs to the chosen papers; mend either list"
        )
    return plan


class _Planner:
    def __init__(self, config: Config, contents: dict[str, str], plan: Plan):
        self.config, self.contents, self.plan = config, contents, plan
        self.protocols = config.recipe.evaluation.model_dump(mode="json")
        self.evaluation_key = digest(self.protocols)
        self.table_code = fingerprint("paper")
        self.recipes: dict[tuple, Recipe] = {}

    # --- tables --------------------------------------------------------------------------------------------------

    def add_table(self, paper_id: str, paper: Paper, table_id: str, table: Table) -> None:
        """Plan one table, with its runs and evaluations."""
        self.where = f"config/papers/{paper_id}.yaml: tables.{table_id}"
        rows = {text: self._label(text, "rows") for text in table.rows}
        columns = self._columns(table)
        draft = Plan(settings={}, scale={}, datasets={})
        cells = []
        for row, label in rows.items():
            for column, place in columns.items():
                replicates = []
                for seed in self.config.settings.seeds:
                    run = self._run(draft, label, place, seed)
                    evaluation = f"{run}/{self.evaluation_key}"
                    draft.evaluations[evaluation] = {
                        "run": run,
                        "key": self.evaluation_key,
                        "protocols": self.protocols,
                    }
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
        self.plan.runs |= draft.runs
        self.plan.evaluations |= draft.evaluations
        for run in draft.runs.values():
            name = run["dataset"]
            dataset = self.config.datasets[name]
            self.plan.datasets[name] = {
                "title": dataset.title,
                "content": self.contents[name],
                "config": dataset.model_dump(mode="json"),
            }

    def add_figures(self, paper_id: str, paper: Paper) -> None:
        """Figures of the tables that could be planned."""
        code = self.table_code
        for figure_id, figure in paper.figures.items():
            if figure.table not in paper.tables:
                hint = nearest(figure.table, list(paper.tables))
                raise UserError(
                    f"config/papers/{paper_id}.yaml: figures.{figure_id}.table: '{figure.table}' is no table of this paper{hint}"
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
        dataset = self._mapped("datasets", value.get("dataset"))
        if dataset not in self.config.datasets:
            hint = nearest(dataset, list(self.config.datasets))
            raise UserError(f"{self.config.scale_file}: datasets: '{dataset}' is not in config/datasets.yaml{hint}")
        return _Place(
            dataset,
            self._mapped("backbones", value.get("backbone")),
            self._mapped("batch_sizes", value.get("batch_size")),
            self._mapped("epochs", value.get("epochs")),
            value.get("augmentation"),
            tuple(sorted(value["set"].items())),
        )

    def _mapped(self, kind: str, value: Any) -> Any:
        table = getattr(self.config.scale, kind)
        for key in (str(value), "default"):
            if key in table:
                return table[key]
        known = ", ".join(table)
        if value is None:
            raise UserError(
                f"{self.config.scale_file}: {kind}: there is no 'default', and {self.where} names none; add one"
            )
        raise UserError(
            f"{self.config.scale_file}: {kind}: nothing stands for '{value}' ({self.where}); add it, or a default (known: {known})"
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
                "augmentation": place.augmentation or self.config.recipe.training.augmentation,
                **dict(place.changes),
            }
            stands_for = [
                _describe(table.setting, column)
                for column in table.columns
                if self._place(table.setting, column) == place
            ]
            entries.append({"id": name, "settings": facts, "dataset": facts["dataset"], "stands_for": stands_for})
        varying = [key for key in entries[0]["settings"] if len({str(e["settings"].get(key)) for e in entries}) > 1]
        words = {"batch_size": "batch {}", "epochs": "{} epochs", "augmentation": "{} augmentation"}
        for entry in entries:
            facts = entry["settings"]
            parts = [
                words.get(key, "{}" if key in words or "." not in key else key + " {}").format(facts[key])
                for key in varying
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
        for number, claim in enumerate(table.claims):
            where = f"{self.where}.claims[{number}]"
            for row in (claim.better, claim.than):
                if row not in rows:
                    raise UserError(f"{where}: '{row}' is no row of the table{nearest(row, list(rows))}")
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
                "published": self._published_effect(claim),
            }
            if claim.larger_than_in is None:
                for column in fitting:
                    setting = labels[column] if len(columns) > 1 else ""
                    terms = _gain(claim, column, 1)
                    entries.append({"id": f"{table_id}-{number}-{column}", **base, "setting": setting, "terms": terms})
                continue
            others = [c for c in self._fitting(table, columns, claim.larger_than_in) if c not in fitting]
            # At a scale that merges the two columns the comparison cannot be made: there is nothing to test.
            if others:
                terms = _gain(claim, fitting[0], 1) + _gain(claim, others[0], -1)
                setting = f"{labels[fitting[0]]} against {labels[others[0]]}"
                entries.append({"id": f"{table_id}-{number}", **base, "setting": setting, "terms": terms})
        return entries

    def _published_effect(self, claim: Claim) -> dict[str, Any] | None:
        if claim.published is None:
            return None
        effect = claim.published
        return {
            "value": effect.value,
            "unit": "points",
            "setting": _describe(effect.setting) + (f" ({effect.note})" if effect.note else ""),
            "source": effect.source,
            "comparable": self._comparable(effect.setting),
        }

    def _published(self, table: Table, rows: dict, columns: dict[str, _Place]) -> list[dict[str, Any]]:
        entries = []
        for number, value in enumerate(table.published):
            where = f"{self.where}.published[{number}]"
            if value.row not in rows:
                raise UserError(f"{where}: '{value.row}' is no row of the table{nearest(value.row, list(rows))}")
            fitting = self._fitting(table, columns, value.setting)
            if not fitting:
                raise UserError(f"{where}: setting fits no column of the table; mend it")
            entries += [
                {
                    "row": value.row,
                    "column": column,
                    "metric": value.metric,
                    "value": value.value,
                    "setting": _describe(value.setting) + (f" ({value.note})" if value.note else ""),
                    "source": value.source,
                    "comparable": self._comparable(value.setting),
                }
                for column in fitting
            ]
        return entries

    def _comparable(self, setting: Setting) -> bool:
        """Whether the scale trains at the papers' own sizes, in particular on the named data set itself."""
        scale = self.config.scale
        return scale.comparable and setting.dataset is not None and setting.dataset in scale.datasets

    # --- runs ----------------------------------------------------------------------------------------------------

    def _recipe(self, place: _Place) -> Recipe:
        """The scale's recipe with the column's dotted changes, validated anew."""
        if not place.changes:
            return self.config.recipe
        if place.changes not in self.recipes:
            value = self.config.recipe.model_dump(exclude_none=True)
            for key, new in place.changes:
                _change(value, key, new, self.where)
            try:
                self.recipes[place.changes] = Recipe.model_validate(value)
            except ValidationError as error:
                raise UserError(explain(error, Recipe, f"{self.where}: set", None, {})) from None
        return self.recipes[place.changes]

    def _run(self, draft: Plan, label, place: _Place, seed: int) -> str:
        """Add one run (and its guide's), and answer its id."""
        recipe = self._recipe(place)
        method = getattr(recipe.methods, label.base)
        if method is None:
            known = ", ".join(name for name in BASES if getattr(recipe.methods, name))
            raise UserError(
                f"{self.config.recipe_file}: methods: no values for '{label.base}', which {self.where} needs; add them (known: {known})"
            )
        training = recipe.training
        change = method.training
        augmentation = place.augmentation or (change and change.augmentation) or training.augmentation
        if augmentation not in recipe.augmentations:
            hint = nearest(augmentation, list(recipe.augmentations))
            raise UserError(f"{self.where}: augmentation: '{augmentation}' is not in {self.config.recipe_file}{hint}")
        if place.dataset not in self.contents:
            raise UserError(
                f"data set '{place.dataset}' is not prepared, so its content is not known: run `sslpairs fetch {place.dataset}`"
            )
        strategies, guide = {}, None
        for name in label.strategies:
            settings = getattr(recipe.strategies, name)
            if settings is None:
                raise UserError(
                    f"{self.config.recipe_file}: strategies: no values for '{name}', which {self.where} needs; add them"
                )
            value = settings.model_dump()
            if name in ("spps", "gps") and settings.guide.kind == "run":
                guide = self._guide(draft, settings.guide, place, seed)
                value["guide"] = {"kind": "checkpoint", "run": guide}
            strategies[name] = value
        if "mixco" in strategies and place.batch_size % 2:
            raise UserError(
                f"{self.config.scale_file}: batch_sizes: MixCo mixes the two halves of a batch, and {place.batch_size} is odd; "
                f"write an even number ({self.where})"
            )
        schedule = (change and change.schedule) or training.schedule
        if schedule.warmup_epochs >= place.epochs:
            raise UserError(
                f"{self.config.scale_file}: epochs: {place.epochs} leave nothing after a warm-up of {schedule.warmup_epochs} epochs "
                f"({self.config.recipe_file}); lengthen the one or shorten the other"
            )
        spec = RunSpec.model_validate(
            {
                "dataset": self.contents[place.dataset],
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
                "seed": seed,
            }
        )
        name = run_id(f"{label}-{place.dataset}-{augmentation}-b{place.batch_size}-s{seed}", spec)
        draft.runs[name] = {
            "label": str(label),
            "dataset": place.dataset,
            "backbone": place.backbone.label,
            "augmentation": augmentation,
            "seed": seed,
            "guide": guide,
            "spec": spec.plain(),
        }
        return name

    def _guide(self, draft: Plan, guide, place: _Place, seed: int) -> str:
        """The run that a guide names: on the same data, with the same network, at the scale's default batch size."""
        label = self._label(guide.method, "guide")
        if {"spps", "gps"} & set(label.strategies):
            raise UserError(
                f"{self.config.recipe_file}: guide.method: '{guide.method}' needs a guide itself; name a method without SPPS and GPS"
            )
        at = _Place(
            place.dataset,
            place.backbone,
            self._mapped("batch_sizes", None),
            place.epochs,
            guide.augmentation,
            (),
        )
        return self._run(draft, label, at, seed)


def _gain(claim: Claim, column: str, sign: int) -> list[dict[str, Any]]:
    return [
        {"row": claim.better, "column": column, "weight": sign},
        {"row": claim.than, "column": column, "weight": -sign},
    ]


def _describe(*settings: Setting) -> str:
    """A setting in words, for example 'ImageNet, ResNet-50, batch 1024'."""
    value: dict[str, Any] = {}
    for setting in settings:
        given = setting.model_dump(exclude_none=True)
        value = value | {key: item for key, item in given.items() if key != "set"} | given["set"]
    words = {"batch_size": "batch {}", "epochs": "{} epochs", "augmentation": "{} augmentation"}
    order = ["dataset", "backbone", "batch_size", "epochs", "augmentation"]
    keys = sorted(value, key=lambda key: order.index(key) if key in order else len(order))
    return ", ".join(words.get(key, "{}" if key in order else f"{key} {{}}").format(value[key]) for key in keys)


def _change(value: dict, key: str, new: Any, where: str) -> None:
    """Set a dotted key of a recipe; the first word may leave out 'methods' or 'strategies'."""
    words = key.split(".")
    for room in ("methods", "strategies", "training"):
        if words[0] not in value and words[0] in value[room]:
            words.insert(0, room)
    for depth, word in enumerate(words):
        if not isinstance(value, dict) or (depth < len(words) - 1 and word not in value):
            raise UserError(f"{where}: set: '{key}': the recipe has no '{word}'{nearest(word, list(value))}")
        if depth == len(words) - 1:
            value[word] = new
        else:
            value = value[word]
