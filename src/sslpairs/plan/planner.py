"""Plan runs, evaluations and table cells from papers and a scale, as plain data."""

import itertools
from typing import Any

from sslpairs.config.guides import words
from sslpairs.config.labels import parse_label
from sslpairs.config.papers import ClaimSettings, ColumnSettings, Paper, TableSettings
from sslpairs.config.protocols import PROTOCOLS, described, named
from sslpairs.config.reading import Config
from sslpairs.errors import UserError, nearest, shown
from sslpairs.plan.baselines import TITLES, plan_baseline
from sslpairs.plan.limits import late_notes, queue_notes
from sslpairs.plan.plan import Plan
from sslpairs.plan.records import (
    PlannedBaselines,
    PlannedCell,
    PlannedClaim,
    PlannedColumn,
    PlannedEffect,
    PlannedValue,
    Term,
)
from sslpairs.plan.resolved import NotAtThisScale, ResolvedSetting, agree, merged
from sslpairs.plan.runs import Runs
from sslpairs.plan.spec import digest


def make_plan(config: Config, contents: dict[str, str], strict: bool = False) -> Plan:
    """Plan every table that can be planned, except optional tables that were not requested.

    ``contents`` maps prepared data sets to their content hash; runs on others are planned with a placeholder. Requested tables must
    be possible; others are skipped silently, and so are optional ones that the scale does not cover, unless they were named.
    ``strict`` skips only tables that the scale does not cover, requested or not.
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
            except NotAtThisScale:
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


WORDS = {
    "batch_size": "batch {}",
    "epochs": "{} epochs",
    "augmentation": "{} augmentation",
    "evaluate_on": "evaluated on {}",
}
"""Settings in words, in the order in which they are named."""


class _Planner(Runs):
    """Tables, claims and figures of a plan."""

    def add_table(self, paper_id: str, paper: Paper, table_id: str, table: TableSettings) -> None:
        """Plan one table, with its runs and evaluations."""
        self._begin(paper_id, table_id)
        table = table.model_copy(update={"metrics": self._metrics(table)})
        asked = self._asked(table)
        rows = {}
        for text in table.rows:
            try:
                label = parse_label(text)
            except UserError as error:
                raise UserError(f"{self.where}.rows: {error}") from None
            if str(label) in rows:
                raise UserError(f"{self.where}.rows: '{shown(text)}' is listed twice; keep one")
            rows[str(label)] = label
        columns = self._columns(table)
        draft = Plan(settings={}, scale={}, datasets={})
        cells = []
        used: dict[str, None] = {}
        for row, label in rows.items():
            for column, setting in columns.items():
                evaluating = self._evaluating(asked, setting)
                used |= {evaluating["dataset"]: None} if "dataset" in evaluating else {}
                replicates = []
                for seed in self.config.settings.seeds:
                    run = self._run(draft, label, setting, seed)
                    evaluation = f"{run}/{evaluating['key']}"
                    draft.evaluations[evaluation] = {"run": run, **evaluating}
                    replicates.append({"seed": seed, "run": run, "evaluation": evaluation})
                cells.append({"row": row, "column": column, "replicates": replicates})
        column_entries = self._column_entries(table, columns)
        labels = {entry["id"]: entry["label"] for entry in column_entries}
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
            "columns": column_entries,
            "metrics": list(table.metrics),
            "measures": {
                metric: described(metric, getattr(self.recipe.evaluation, named(metric).protocol, None))
                for metric in table.metrics
            },
            "cells": cells,
            "baselines": self._baselines(draft, table, columns, cells),
            "claims": self._claims(table_id, table, rows, columns, labels),
            "published": self._published(table, rows, columns),
        }
        entry["key"] = digest([entry, self.table_code])
        self.plan.tables[table_id] = entry
        for run, entry in draft.runs.items():  # the table that requests most GPUs determines their number
            known = self.plan.runs.setdefault(run, entry)
            known["gpus"] = max(known["gpus"], entry["gpus"])
        self.plan.baselines |= draft.baselines
        for name, entry in draft.evaluations.items():
            known = self.plan.evaluations.setdefault(name, entry)["asked"]
            known |= {protocol: sorted({*known[protocol], *metrics}) for protocol, metrics in entry["asked"].items()}
        for name in dict.fromkeys([run["dataset"] for run in draft.runs.values()]) | used:
            dataset = self.config.datasets[name]
            self.plan.datasets[name] = {
                "title": dataset.heading,
                "content": self._content(name),
                "config": dataset.model_dump(mode="json"),
            }

    def _baselines(
        self, draft: Plan, table: TableSettings, columns: dict[str, ResolvedSetting], trained: list[PlannedCell]
    ) -> PlannedBaselines:
        """Plan the scale's baselines for each column, under the protocols of the recipe; none if the table shows none of these."""
        protocols = self.recipe.evaluation.plain()
        shown_protocols = {named(metric).protocol for metric in table.metrics} & protocols.keys()
        kinds = self.config.scale.baselines if shown_protocols else []
        like = {cell["column"]: cell["replicates"][0]["evaluation"] for cell in trained}
        cells = []
        for kind, (column, setting) in itertools.product(kinds, columns.items()):
            dataset = setting.evaluate_on or setting.dataset
            facts = dataset, self._content(dataset), setting.backbone.model_dump(mode="json")
            replicates = []
            for seed in self.config.settings.seeds:
                name, entry = plan_baseline(kind, *facts, seed, protocols, like[column])
                draft.baselines[name] = entry
                replicates.append({"seed": seed, "run": name.partition("/")[0], "evaluation": name})
            cells.append({"row": kind, "column": column, "replicates": replicates})
        rows = [{"id": kind, "label": TITLES[kind], "base": kind, "strategies": []} for kind in kinds]
        return {"rows": rows, "cells": cells}

    def _metrics(self, table: TableSettings) -> list[str]:
        """The table's own, then those that the scale shows in every table."""
        evaluated = self.recipe.evaluation.chosen().keys()
        more = [m for m in self.config.scale.metrics if named(m).protocol in evaluated]
        return list(dict.fromkeys([*table.metrics, *more]))

    def _asked(self, table: TableSettings) -> dict[str, list[str]]:
        """Return protocol -> metrics that the table shows. Raise ``UserError`` for a metric that is not measured there."""
        asked: dict[str, list[str]] = {}
        elsewhere = any(column.evaluate_on for column in (table.setting, *table.columns))
        for metric in table.metrics:
            protocol, quantity = named(metric)
            if PROTOCOLS[protocol].while_training and elsewhere:
                raise UserError(
                    f"{self.where}.metrics: '{metric}' is measured on the training's data, but the table has evaluate_on; "
                    "remove it"
                )
            if not PROTOCOLS[protocol].while_training and getattr(self.recipe.evaluation, protocol) is None:
                raise UserError(
                    f"{self.where}.metrics: '{metric}': {self.recipe_file} has no evaluation.{protocol}; add it there"
                )
            asked.setdefault(protocol, []).append(quantity)
        return asked

    def add_figures(self, paper_id: str, paper: Paper) -> None:
        """Plan the figures of the tables that could be planned."""
        code = self.table_code
        for figure_id, figure in paper.figures.items():
            if figure.table not in paper.tables:
                hint = nearest(figure.table, list(paper.tables))
                raise UserError(
                    f"config/papers/{paper_id}.yaml: figures.{figure_id}.table: '{shown(figure.table)}' is not a table of this paper{hint}"
                )
            metrics = [*paper.tables[figure.table].metrics, *self.config.scale.metrics]
            if figure.kind != "curves" and figure.metric not in metrics:
                raise UserError(
                    f"config/papers/{paper_id}.yaml: figures.{figure_id}.metric: '{figure.metric}' is not among those of table "
                    f"'{figure.table}' ({', '.join(metrics)})"
                )
            if figure.table in self.plan.tables:
                entry = {"id": figure_id, "paper": paper_id, **figure.model_dump(mode="json")}
                entry["key"] = digest([entry, self.plan.tables[figure.table]["key"], code])
                self.plan.figures[figure_id] = entry

    def _column_entries(self, table: TableSettings, columns: dict[str, ResolvedSetting]) -> list[PlannedColumn]:
        entries = []
        for name, setting in columns.items():
            facts = {
                "dataset": self.config.datasets[setting.dataset].heading,
                "backbone": setting.backbone.label,
                "batch_size": setting.batch_size,
                "epochs": setting.epochs,
                "augmentation": setting.augmentation or self.recipe.training.augmentation,
                **({"evaluated on": self.config.datasets[setting.evaluate_on].heading} if setting.evaluate_on else {}),
                **{key: _in_words(item) for key, item in setting.changes},
            }
            stands_for = [
                _describe(table.setting, column)
                for column in table.columns
                if self._resolve(table.setting, column) == setting
            ]
            images = self.images_of(setting.evaluate_on or setting.dataset)
            entry = {"id": name, "settings": facts, "dataset": facts["dataset"], "stands_for": stands_for}
            entries.append(entry | {"test_images": images.test if images else None})
        keys = dict.fromkeys(key for entry in entries for key in entry["settings"])
        varying = [key for key in keys if len({str(e["settings"].get(key)) for e in entries}) > 1]
        for entry in entries:
            facts = entry["settings"]
            parts = [
                WORDS.get(key, f"{key} {{}}" if "." in key else "{}").format(facts[key])
                for key in varying
                if key in facts
            ]
            entry["label"] = ", ".join(parts) or facts["dataset"]
        return entries

    def _claims(
        self,
        table_id: str,
        table: TableSettings,
        rows: dict,
        columns: dict[str, ResolvedSetting],
        labels: dict[str, str],
    ) -> list[PlannedClaim]:
        """Return the claims, with the cells that they compare; ``labels`` are those of the columns."""
        entries = []
        for number, claim in enumerate(table.all_claims()):
            where = f"{self.where}.claims[{number}]"
            better, than = self._row(claim.better, rows, where), self._row(claim.than, rows, where)
            if claim.metric not in table.metrics:
                raise UserError(
                    f"{where}: metric '{claim.metric}' is not among the table's ({', '.join(table.metrics)})"
                )
            fitting = self._fitting(table, columns, claim.where)
            if not fitting:
                raise UserError(f"{where}: where matches no column of the table; correct it")
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
                raise UserError(f"{where}: larger_than_in matches no column of the table; correct it")
            named = {key for side in (claim.where, claim.larger_than_in) for key in side.model_dump(exclude_none=True)}
            pairs = [(a, b) for a in fitting for b in others if a != b and b not in fitting]
            # Compare like with like: prefer columns that differ only in what the claim names.
            alike = [(a, b) for a, b in pairs if agree(columns[a], columns[b], named)]
            # At a scale that merges the two columns the comparison is impossible: there is nothing to test.
            for number_of_pair, (a, b) in enumerate(alike or pairs[:1]):
                terms = _gain(better, than, a, 1) + _gain(better, than, b, -1)
                setting = f"{labels[a]} against {labels[b]}"
                name = f"{table_id}-{number}" + (f"-{number_of_pair}" if number_of_pair else "")
                entries.append({"id": name, **base, "setting": setting, "terms": terms})
        return entries

    def _published_effect(self, table: TableSettings, claim: ClaimSettings) -> PlannedEffect | None:
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

    def _published(self, table: TableSettings, rows: dict, columns: dict[str, ResolvedSetting]) -> list[PlannedValue]:
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
                raise UserError(f"{where}: setting matches no column of the table; correct it")
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
        """Return the row that a label names, in any order of its strategies."""
        try:
            row = str(parse_label(text))
        except UserError:
            row = text
        if row not in rows:
            raise UserError(f"{where}: '{shown(text)}' is not a row of the table{nearest(text, list(rows))}")
        return row


def _gain(better: str, than: str, column: str, sign: int) -> list[Term]:
    return [
        {"row": better, "column": column, "weight": sign},
        {"row": than, "column": column, "weight": -sign},
    ]


def _in_words(value: Any) -> Any:
    """Format a changed value for tables."""
    if not isinstance(value, dict):
        return value
    return words(value) if "kind" in value else ", ".join(f"{key} {item}" for key, item in value.items())


def _describe(*settings: ColumnSettings) -> str:
    """Describe a setting as text, for example 'ImageNet, ResNet-50, batch 1024'."""
    value = merged(*settings)
    order = ["dataset", "backbone", *WORDS]
    keys = sorted(value, key=lambda key: order.index(key) if key in order else len(order))
    return ", ".join(
        WORDS.get(key, "{}" if key in order else f"{key} {{}}").format(_in_words(value[key])) for key in keys
    )
