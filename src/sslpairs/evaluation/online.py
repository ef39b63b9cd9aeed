"""The ``online`` protocol: measured during training (``training/online.py``)."""

from sslpairs.config.protocols.online import OnlineSettings
from sslpairs.evaluation.encoded import Encoded
from sslpairs.plan.evaluations import as_metrics


def measure(settings: OnlineSettings | None, encoded: Encoded) -> dict[str, float]:
    """The receipt's values for the last epoch, and for the best one (chosen on the test images, as in the released code)."""
    found = dict(encoded.receipt["online"])
    if answers := found.pop("answers", None):  # receipts of before they were kept have none
        encoded.answers["top1"] = answers
    return as_metrics(found)
