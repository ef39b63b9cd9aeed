"""Resolve a paper's settings at the scale: the values with which a method is trained."""

from dataclasses import dataclass, field
from typing import Any

from sslpairs.config.papers import ColumnSettings, TableSettings
from sslpairs.config.reading import Config
from sslpairs.config.recipes import Recipe
from sslpairs.errors import UserError, listed, nearest, shown
from sslpairs.plan.fingerprint import paper_code
from sslpairs.plan.limits import Images, known_images
from sslpairs.plan.plan import NOT_PREPARED, Plan


class NotAtThisScale(UserError):
    """A table has a setting, or belongs to a paper, for which the scale has no entry."""


@dataclass(frozen=True)
class ResolvedSetting:
    """A paper's setting, mapped to the scale."""

    dataset: str
    backbone: Any
    batch_size: int
    epochs: int
    augmentation: str | None
    changes: tuple[tuple[str, Any], ...]
    evaluate_on: str | None = None
    """Data set of the evaluation, if different from that of the training."""
    guide_batch: int | None = field(default=None, compare=False)
    """Batch size of a guide's run, in the paper's terms; None for the scale's default."""


class SettingResolver:
    """Resolves the settings of a configuration at its scale."""

    def __init__(self, config: Config, contents: dict[str, str], plan: Plan):
        self.config, self.contents, self.plan = config, contents, plan
        self.table_code = paper_code()
        self.changed: dict[str, Recipe] = {}
        self.specs: dict[tuple, tuple] = {}
        self.images: dict[str, Images | None] = {}

    def images_of(self, dataset: str) -> Images | None:
        """Return the images of a data set, if known."""
        if dataset not in self.images:
            config = self.config.datasets[dataset].model_dump(mode="json")
            self.images[dataset] = known_images(self.config.root, dataset, config, self.contents.get(dataset))
        return self.images[dataset]

    def _begin(self, paper_id: str, table_id: str) -> None:
        self.where, self.paper_id = f"config/papers/{paper_id}.yaml: tables.{table_id}", paper_id
        try:
            self.recipe, self.recipe_file = self.config.recipe_of(paper_id)
        except UserError as error:
            raise NotAtThisScale(error) from None

    def _content(self, dataset: str) -> str:
        return self.contents.get(dataset, NOT_PREPARED + dataset)

    def _resolve(self, *settings: ColumnSettings) -> ResolvedSetting:
        """Merge the settings (the last one that names a value wins), then map the values to the scale."""
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
        return ResolvedSetting(
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
        """Return the scale's values for this paper's tables where they state none."""
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
            raise NotAtThisScale(
                f"{self.config.scale_file}: {kind}: {self.where} names none and there is no 'default'; add one"
            )
        raise NotAtThisScale(
            f"{self.config.scale_file}: {kind}: no entry for '{shown(value)}' ({self.where}); add it or a default (known: {known})"
        )

    def _comparable(self, *settings: ColumnSettings) -> bool:
        """Whether the scale trains in exactly the published setting: the named data set and network, and the same
        batch size and epochs if they are named."""
        value, scale = merged(*settings), self.config.scale
        named = all(value[key] in getattr(scale, f"{key}s") for key in ("dataset", "backbone") if key in value)
        same = all(
            self._mapped(kind, value[key]) == value[key]
            for key, kind in (("batch_size", "batch_sizes"), ("epochs", "epochs"))
            if key in value
        )
        return scale.comparable and "dataset" in value and named and same

    def _columns(self, table: TableSettings) -> dict[str, ResolvedSetting]:
        """Return the columns. Settings that the scale maps to the same values are merged."""
        settings: list[ResolvedSetting] = []
        for column in table.columns:
            setting = self._resolve(table.setting, column)
            if setting not in settings:
                settings.append(setting)
        return {f"c{number}": setting for number, setting in enumerate(settings)}

    def _fitting(self, table: TableSettings, columns: dict[str, ResolvedSetting], where: ColumnSettings) -> list[str]:
        """Return the columns that represent at least one of the paper's settings matching ``where``."""
        fitting = []
        for column in table.columns:
            facts = merged(table.setting, column)
            if all(facts.get(key) == value for key, value in merged(where).items()):
                resolved = self._resolve(table.setting, column)
                fitting += [name for name, other in columns.items() if other == resolved and name not in fitting]
        return fitting


def merged(*settings: ColumnSettings) -> dict[str, Any]:
    """Return the values that settings name, with those under ``set``; the last setting that names a value wins."""
    values: dict[str, Any] = {}
    for setting in settings:
        values |= setting.model_dump(exclude_none=True, exclude={"set"}) | setting.set
    return values


def agree(a: ResolvedSetting, b: ResolvedSetting, but: set[str]) -> bool:
    """Whether two settings are equal except for the given keys."""
    names = [name for name in vars(a) if name not in but and name not in ("changes", "guide_batch")]
    return all(getattr(a, name) == getattr(b, name) for name in names) and ("set" in but or a.changes == b.changes)
