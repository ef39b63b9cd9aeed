"""GPS-SSL (arXiv 2401.01990): the second view comes from a near neighbour of the image under a prior embedding."""

from collections.abc import Callable

import torch
from torch import Tensor

from sslpairs.config.recipes import GPS as Settings
from sslpairs.errors import UserError
from sslpairs.pairs.base import Pairs

BLOCK = 4096


def neighbours(embedding: Tensor, k: int, include_self: bool = False) -> Tensor:
    """The k nearest images of each image by squared Euclidean distance, nearest first.

    ``embedding`` is ``[N, D]``; returns int64 ``[N, k]``. Without ``include_self`` the image is left out by its index, so
    that an exact duplicate is still its neighbour; with it, the image stands first.
    Raises ``ValueError`` when there are not k images to choose from.
    """
    count = len(embedding)
    if not 1 <= k <= count - (not include_self):
        raise ValueError(f"{k} neighbours of {count} images: there are {count - (not include_self)} to choose from")
    squares = embedding.square().sum(1)
    rows = []
    for start in range(0, count, BLOCK):
        block = embedding[start : start + BLOCK]
        distance = torch.addmm(squares[None] + squares[start : start + BLOCK, None], block, embedding.T, alpha=-2)
        own = torch.arange(len(block), device=embedding.device)
        distance[own, own + start] = -torch.inf if include_self else torch.inf
        rows.append(distance.topk(k, largest=False, sorted=True).indices)
    return torch.cat(rows)


class GPS(Pairs):
    """Draws the second source uniformly among the k nearest images, anew at every fetch (released code,
    gps_dataset.py:143-144; the paper's abstract would take the farthest in a ball)."""

    name = "gps"

    def __init__(self, settings: Settings):
        self.settings = settings

    def prepare(self, embed: Callable[[], Tensor], draws: torch.Generator) -> str:
        """Build the neighbour table."""
        try:
            self.table = neighbours(embed(), self.settings.neighbours, self.settings.include_self)
        except ValueError as error:
            raise UserError(f"strategies.gps.neighbours: {error}; write a smaller number") from None
        return f"GPS: {self.settings.neighbours} neighbours of {len(self.table)} images"

    def partners(self, items: Tensor, draws: torch.Generator) -> Tensor:
        """A neighbour for the second view; items of two different images (SPPS) stay as they are."""
        anchor, second = items.T
        column = torch.randint(self.table.shape[1], (len(items),), generator=draws).to(self.table.device)
        drawn = self.table[anchor, column]
        return torch.stack([anchor, torch.where(anchor == second, drawn, second)], dim=1)
