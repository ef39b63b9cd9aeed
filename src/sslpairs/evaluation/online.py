"""The ``online`` protocol: measured during training (``training/online.py``)."""

from sslpairs.config.protocols.online import OnlineSettings
from sslpairs.evaluation.encoded import Encoded
from sslpairs.plan.evaluations import as_metrics


def measure(settings: OnlineSettings | None, encoded: Encoded) -> dict[str, float]:
    """The receipt's values for the last epoch, and for the best one (chosen on the test images, as in the released code)."""
    return as_metrics(encoded.receipt["online"])
