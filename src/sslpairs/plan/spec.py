"""Full specification of one training, and the id derived from it (``spec/workflow.md`` of the design, 1.1)."""

from typing import Any, Literal

from sslpairs.config.backbones import Backbone
from sslpairs.config.base import Count, Model
from sslpairs.config.optimization import OnlineClassifierSettings, OptimizerSettings, Schedule
from sslpairs.config.recipes import Methods, Strategies
from sslpairs.config.strategies import STRATEGIES
from sslpairs.config.views import Augmentation
from sslpairs.files import canonical, sha256_text


class RunSpec(Model):
    """A recipe with every value resolved, the content of the data, and the seed. Equal specs are the same run."""

    format: Literal[1] = 1
    dataset: str
    """SHA-256 of the prepared images and labels."""
    backbone: Backbone
    method: Methods
    """Exactly one base method."""
    strategies: Strategies
    augmentation: Augmentation
    optimizer: OptimizerSettings
    schedule: Schedule
    online: OnlineClassifierSettings
    precision: Literal["float32", "bfloat16"]
    batch_size: Count
    epochs: Count
    seed: int

    @property
    def base(self) -> str:
        """Name of the base method."""
        return next(name for name in type(self.method).model_fields if getattr(self.method, name) is not None)

    @property
    def active(self) -> list[str]:
        """Names of the pair strategies, in the order of composition."""
        return [name for name in STRATEGIES if getattr(self.strategies, name) is not None]

    def plain(self) -> dict[str, Any]:
        """Return JSON values. Unused methods and strategies are left out, so that adding one changes no existing id."""
        value = self.model_dump(mode="json")
        value["method"] = {self.base: value["method"][self.base]}
        for key in ("training", "strategies"):  # already resolved
            value["method"][self.base].pop(key)
        value["strategies"] = {name: value["strategies"][name] for name in self.active}
        for name, settings in value["strategies"].items():
            for key, before in STRATEGIES[name].as_before.items():
                if settings[key] == before:
                    del settings[key]
        return value


def digest(value: Any) -> str:
    """Return the first 12 hex digits of the SHA-256 of the canonical JSON."""
    return sha256_text(canonical(value))[:12]
