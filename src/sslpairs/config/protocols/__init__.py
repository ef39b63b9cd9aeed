"""Evaluation protocols, one file each: settings, titles and metrics. The computations are in the file of the same name in
``sslpairs.evaluation``."""

from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, create_model

from sslpairs.config.base import Model
from sslpairs.config.protocols.base import Protocol
from sslpairs.config.registry import scan
from sslpairs.errors import listed, nearest, shown

PROTOCOLS: dict[str, type[Protocol]] = scan(__name__, Protocol, "sslpairs.evaluation")
METRICS = {f"{name}.{metric}": quantity for name, p in PROTOCOLS.items() for metric, quantity in p.metrics.items()}
"""Metrics by the names used in tables, such as ``linear.top1``."""


class _Protocols(Model):
    def chosen(self) -> dict[str, Protocol]:
        """Return the settings of each protocol that has some, by name."""
        return {name: settings for name in type(self).model_fields if (settings := getattr(self, name)) is not None}

    def plain(self) -> dict[str, Any]:
        """Return the same as JSON values. Unused protocols are left out, so that adding a protocol changes no existing key."""
        return {name: settings.model_dump(mode="json") for name, settings in self.chosen().items()}


Protocols = create_model(
    "Protocols",
    __base__=_Protocols,
    __doc__="How checkpoints are evaluated; the ``online`` protocol belongs to the training.",
    **{name: (protocol | None, None) for name, protocol in PROTOCOLS.items() if not protocol.while_training},
)


class Named(NamedTuple):
    """The two parts of a metric's name."""

    protocol: str
    metric: str


def named(metric: str) -> Named:
    """Split a metric's name into its parts."""
    return Named(*metric.split("."))


def described(metric: str, settings: Protocol | None = None) -> dict[str, str]:
    """What tables say of a metric: the title of its protocol, its own ``title``, ``what`` is measured, and ``about`` the protocol."""
    name, key = named(metric)
    protocol = PROTOCOLS[name]
    quantity = (settings.quantities() if settings else protocol.metrics)[key]
    about = settings.words() if settings else protocol.about
    return {"protocol": protocol.title, "title": quantity.title, "what": quantity.what, "about": about}


def _known(text: str) -> str:
    if text in METRICS:
        return text
    if text in PROTOCOLS:
        raise ValueError(
            f"'{text}' is a protocol; write one of its metrics, {' or '.join(f'{text}.{m}' for m in PROTOCOLS[text].metrics)}"
        )
    raise ValueError(
        f"'{shown(text)}' is not a metric of any protocol{nearest(text, list(METRICS))} ({listed(METRICS)})"
    )


Metric = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(METRICS)})]
"""Name of a metric of a protocol."""
