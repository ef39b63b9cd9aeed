"""``config/papers/``: tables, claims and figures, declared in the papers' own settings.

A scale (``config/scales/``) maps a paper's data set, network, batch size and epochs to those that are trained.
"""

from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from sslpairs.config.base import Count, Model, Name, Title
from sslpairs.config.labels import meaning, parse_label
from sslpairs.config.methods import METHODS
from sslpairs.config.protocols import Metric
from sslpairs.config.strategies import STRATEGIES


class ColumnSettings(Model):
    """Setting in which a method is trained. Missing values come from the table, then from the scale."""

    dataset: str | None = None
    backbone: str | None = None
    batch_size: Count | None = None
    epochs: Count | None = None
    augmentation: str | None = None
    """Name of one of the recipe's augmentations, for example 'weak'."""
    evaluate_on: str | None = None
    """A different data set on which the trained encoder is evaluated; not available for protocols measured during training."""
    set: dict[str, Any] = {}
    """Changes to the recipe by dotted key, for example {'mixco.temperature': 0.1}."""


class PublishedEffect(Model):
    """A published difference, in points."""

    value: Annotated[float, Field(ge=-100, le=100)]
    setting: ColumnSettings
    source: str
    note: str = ""


class ClaimSettings(Model):
    """``better`` beats ``than``, tested over seeds, in every column that matches ``where``."""

    text: str
    better: str
    than: str
    metric: Metric
    where: ColumnSettings = ColumnSettings()
    larger_than_in: ColumnSettings | None = None
    """If given, the claim is about the gain: it is larger in ``where`` than in this setting."""
    source: str
    published: PublishedEffect | None = None


class Published(Model):
    """A published value of one cell."""

    row: str
    setting: ColumnSettings
    metric: Metric
    value: Annotated[float, Field(ge=0, le=100)]
    """In percent."""
    source: str
    note: str = ""


class FigureSettings(Model):
    """A figure made from one table."""

    kind: Literal["with-without", "batch-size", "curves"]
    title: Title
    table: str
    metric: Metric


class Rows(Model):
    """Generated rows: base methods alone and with pair strategies, for all combinations that have a meaning."""

    bases: Literal["all"] | list[Literal[tuple(METHODS)]]
    strategies: Literal["each", "pairs"]
    """``each``: every strategy alone; ``pairs``: also every pair of strategies."""

    def labels(self) -> list[str]:
        """Return the method labels, grouped by base."""
        most = 1 if self.strategies == "each" else 2
        sets = [names for count in range(most + 1) for names in combinations(STRATEGIES, count)]
        return [
            "+".join((base, *names))
            for base in (METHODS if self.bases == "all" else self.bases)
            for names in sets
            if all(meaning(name, base).status != "refused" for name in names)
        ]


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    try:
        return Rows.model_validate(value).labels()
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'][:1]))}: {first['msg']}") from None


class Improves(Model):
    """The claim that each row with strategies beats its base method alone."""

    metric: Metric
    source: str


class TableSettings(Model):
    """One table: methods by settings."""

    title: Title
    optional: bool = False
    """Not included in ``tables: all``: it must be named, or ``tables: every`` set."""
    axes: Literal["paper", "ours"]
    """Whether rows and columns are the paper's, or ours because no available source confirms them."""
    note: str = ""
    rows: Annotated[list[str], Field(min_length=1), BeforeValidator(_listed, json_schema_input_type=list[str] | Rows)]
    """Method labels, a base method and pair strategies joined by +; or {bases: all | [...], strategies: each | pairs}."""
    setting: ColumnSettings = ColumnSettings()
    columns: Annotated[list[ColumnSettings], Field(min_length=1)]
    metrics: Annotated[list[Metric], Field(min_length=1)]
    """The first one is the headline."""
    claims: list[ClaimSettings] = []
    improves: Improves | None = None
    published: list[Published] = []

    def all_claims(self) -> list[ClaimSettings]:
        """Return the listed claims, plus one for each row that should improve on its base."""
        if not self.improves:
            return self.claims
        labels = [label for label in map(parse_label, self.rows) if label.strategies]
        return self.claims + [
            ClaimSettings(
                text=f"{' + '.join(STRATEGIES[name].title for name in label.strategies)} improves {METHODS[label.base].title}",
                better=str(label),
                than=label.base,
                **self.improves.model_dump(),
            )
            for label in labels
        ]


class Paper(Model):
    """One file of ``config/papers/``."""

    title: Title
    strategy: Literal[tuple(STRATEGIES)] | None
    """The paper's pair strategy; null for tables that are not from a paper."""
    arxiv: str | None
    optional: bool = False
    """Not included in ``papers: all``: it must be named, or ``papers: every`` set."""
    tables: dict[Name, TableSettings]
    figures: dict[Name, FigureSettings] = {}
