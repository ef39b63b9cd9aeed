"""The ``online`` protocol: measured while the run trained (``training/online.py``)."""

from sslpairs.config.protocols.online import Online
from sslpairs.evaluation.encoded import Encoded
from sslpairs.plan.evaluations import as_metrics


def measure(settings: Online | None, encoded: Encoded) -> dict[str, float]:
    """What the receipt says of the last epoch, and of the best one (chosen on the test images, as the released codes do)."""
    return as_metrics(encoded.receipt["online"])
