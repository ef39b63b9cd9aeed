"""GPS-SSL (arXiv 2401.01990): the second view comes from a near neighbour of the image under a prior embedding."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from sslpairs.backbones.nearest import smallest_products
from sslpairs.config.strategies.gps import GPSSettings
from sslpairs.errors import UserError
from sslpairs.pairs.base import Pairs

log = logging.getLogger(__name__)


def neighbours(embedding: Tensor, k: int, include_self: bool = False) -> Tensor:
    """The k nearest images of each image by squared Euclidean distance, nearest first.

    ``embedding`` is ``[N, D]``; returns int64 ``[N, k]``. Without ``include_self`` the image is excluded by its index, so an
    exact duplicate is still its neighbour; with it, the image comes first.
    Raises ``ValueError`` if there are fewer than k images to choose from.
    """
    return _nearest(embedding, k, include_self)[0]


def _nearest(embedding: Tensor, k: int, include_self: bool) -> tuple[Tensor, Tensor]:
    """Indices as in ``neighbours``, and the squared distances ``[N, k]``."""
    count = len(embedding)
    if not 1 <= k <= count - (not include_self):
        raise ValueError(f"{k} neighbours of {count} images: there are {count - (not include_self)} to choose from")
    # Centring leaves distances unchanged and reduces cancellation in the differences of squares.
    embedding = embedding - embedding.mean(0)
    squares = embedding.square().sum(1, keepdim=True)
    # |a - b|^2 = |a|^2 + [a, 1] . [-2b, |b|^2], and |a|^2 is the same for a whole row.
    left = torch.cat([embedding, torch.ones_like(squares)], dim=1)
    right = torch.cat([-2 * embedding, squares], dim=1)
    values, indices = smallest_products(left, right, k, own=-torch.inf if include_self else torch.inf)
    # Rounding may push a distance below zero; the image itself is at 0.
    return indices, (values + squares).clamp_min(0)


class GPS(Pairs):
    """Draws the second source from an image's candidates, again at every fetch.

    ``table`` is int64 ``[N, C]``; the first ``counts`` ``[N]`` entries of each row are drawn from, uniformly.
    """

    name = "gps"

    def __init__(self, settings: GPSSettings):
        self.settings = settings
        self.rebuild_every = settings.rebuild.every if settings.rebuild else None

    def prepare(self, embed: Callable[[], Tensor], draws: torch.Generator) -> str:
        """Build the table from the guide."""
        return self._build(embed())

    def rebuild(self, embed: Callable[[str], Tensor]) -> None:
        """Rebuild the table from the network in training."""
        self._build(embed(self.settings.rebuild.layer))

    def _build(self, embedding: Tensor) -> str:
        settings, count = self.settings, len(embedding)
        if settings.choice == "nearest":
            try:
                self.table = neighbours(embedding, settings.neighbours, settings.include_self)
            except ValueError as error:
                raise UserError(f"strategies.gps.neighbours: {error}; choose a smaller number") from None
            self.counts = torch.full((count,), settings.neighbours)
            return f"GPS: {settings.neighbours} neighbours of {count} images"
        others = count - (not settings.include_self)
        most = min(settings.candidates, others)
        table, distances = _nearest(embedding, most, settings.include_self)
        within = (distances <= settings.radius).sum(1)
        if settings.choice == "farthest":
            # Open ball, as in the abstract: strictly nearer than the radius.
            within = (distances < settings.radius).sum(1)
            last = (within - 1).clamp_min(0)
            table = table.gather(1, last[:, None])
        own = torch.arange(count, device=table.device)
        # An image without a candidate keeps itself.
        table[:, 0] = torch.where(within == 0, own, table[:, 0])
        self.table = table[:, : max(1, int(within.max()))] if settings.choice == "threshold" else table
        self.counts = within.clamp(1, self.table.shape[1])
        alone, full = int((within == 0).sum()), int((within == most).sum())
        if full and most < others:
            log.warning(
                "GPS: the radius of %g contains all %d candidates that are considered for %d of %d images; farther ones within it "
                "would never be drawn. Raise strategies.gps.candidates, or lower the radius",
                settings.radius, most, full, count,
            )  # fmt: skip
        return (
            f"GPS: {within.double().mean():.1f} candidates per image within a squared distance of {settings.radius:g} "
            f"({alone} of {count} images have none and keep themselves)"
        )

    def sample_positives(self, indices: Tensor, draws: torch.Generator) -> Tensor:
        """A candidate for the second view; items of two different images (SPPS) are unchanged."""
        anchor, second = indices.T
        # Doubles, so that every candidate of a large table can be drawn.
        share = torch.rand(len(indices), generator=draws, dtype=torch.float64)
        column = (share * self.counts[anchor]).long()
        drawn = self.table[anchor, column]
        return torch.stack([anchor, torch.where(anchor == second, drawn, second)], dim=1)

    def state(self) -> dict[str, Tensor]:
        """The table, if it comes from the network itself."""
        return {"table": self.table, "counts": self.counts} if self.rebuild_every else {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore the table of the interrupted run."""
        if state:
            self.table, self.counts = state["table"].cpu(), state["counts"].cpu()
