"""Protocols, one file each: settings, titles, and what they measure. The other half is in the file of the same name in
``sslpairs.evaluation``."""

from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, create_model

from sslpairs.config.base import Model
from sslpairs.config.protocols.base import Protocol, Quantity
from sslpairs.config.registry import scan
from sslpairs.errors import listed, nearest, shown

PROTOCOLS: dict[str, type[Protocol]] = scan(__name__, Protocol, "sslpairs.evaluation")
METRICS = {f"{name}.{metric}": quantity for name, p in PROTOCOLS.items() for metric, quantity in p.metrics.items()}
"""By the names under which tables ask for them, such as ``linear.top1``."""


class _Protocols(Model):
    def chosen(self) -> dict[str, Protocol]:
        """The settings of each protocol that there are any of, by name."""
        return {name: found for name in type(self).model_fields if (found := getattr(self, name)) is not None}

    def plain(self) -> dict[str, Any]:
        """The same as JSON values. A protocol that is not used leaves no trace, so that a new one changes no key."""
        return {name: settings.model_dump(mode="json") for name, settings in self.chosen().items()}


Protocols = create_model(
    "Protocols",
    __base__=_Protocols,
    __doc__="How checkpoints are evaluated; the ``online`` protocol belongs to the training.",
    **{name: (protocol | None, None) for name, protocol in PROTOCOLS.items() if not protocol.while_training},
)


class Named(NamedTuple):
    """A metric by the two parts of its name."""

    protocol: str
    metric: str

    @property
    def title(self) -> str:
        """As in "linear top-1"."""
        return f"{PROTOCOLS[self.protocol].title} {self.quantity.title}"

    @property
    def quantity(self) -> Quantity:
        """What is measured."""
        return PROTOCOLS[self.protocol].metrics[self.metric]


def named(metric: str) -> Named:
    """The parts of a metric's name."""
    return Named(*metric.split("."))


def _known(text: str) -> str:
    if text in METRICS:
        return text
    if text in PROTOCOLS:
        raise ValueError(
            f"'{text}' is a protocol; write what it measures, {' or '.join(f'{text}.{m}' for m in PROTOCOLS[text].metrics)}"
        )
    raise ValueError(f"'{shown(text)}' is measured by no protocol{nearest(text, list(METRICS))} ({listed(METRICS)})")


Metric = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(METRICS)})]
"""The name of a metric of a protocol."""
