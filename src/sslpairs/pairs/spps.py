"""SPPS / SePP-ID (arXiv 2306.16122): different images that a frozen encoder finds similar also become positive pairs.

No code was released. The abstracts define the idea; thresholds, the share of mined images, the order of a pair and the
number of partners are settings whose values are ours.
"""

import logging
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from sslpairs.config.strategies.spps import SPPSSettings
from sslpairs.errors import UserError
from sslpairs.pairs.base import Pairs

log = logging.getLogger(__name__)

BLOCK_ENTRIES = 1 << 26
"""Cosines held at once: 256 MB in float32, 524 rows at 128,000 images."""
MOST_PAIRS = 50_000_000
"""Pairs beyond which a list would no longer fit next to the data (800 MB)."""
NO_PAIR = -2.0
"""Placeholder for a cosine."""


def _blocks(embedding: Tensor, both: bool = False) -> Iterator[tuple[int, int, Tensor]]:
    """Cosines of all pairs of different images in blocks ``[R, S]``, with the indices of a block's first row and column.

    Each pair is in one block, at i < j, unless ``both``; entries that are not a pair, or are in another block, hold ``NO_PAIR``.
    The next block overwrites the last one.
    """
    unit = F.normalize(embedding.detach(), dim=1)
    count = len(unit)
    rows = max(1, min(count, BLOCK_ENTRIES // max(1, count)))
    memory = unit.new_empty(rows * count)
    for start in range(0, count, rows):
        part, others = unit[start : start + rows], unit if both else unit[start:]
        cosine = memory[: len(part) * len(others)].view(len(part), len(others))
        # Rounding may lift the cosine of exact duplicates above 1.
        torch.mm(part, others.T, out=cosine).clamp_(-1, 1)
        if both:
            cosine.diagonal(start).fill_(NO_PAIR)
        else:
            square = cosine[:, : len(part)]
            square.masked_fill_(torch.ones_like(square, dtype=torch.bool).tril_(), NO_PAIR)
        yield start, 0 if both else start, cosine


def semantic_pairs(
    embedding: Tensor,
    low: float,
    high: float,
    ordered: bool = False,
    inclusive: bool = True,
    max_partners: int | None = None,
) -> Tensor:
    """Pairs of different images whose cosine lies within [low, high], or strictly between unless ``inclusive``.

    ``embedding`` is ``[N, D]``; returns int64 ``[P, 2]`` in ascending order, with i < j unless ``ordered``, and at most
    ``max_partners`` pairs with the same first image, the most similar ones. Similarities are computed in blocks, so memory
    grows with N and P but not with N * N. Raises ``ValueError`` beyond ``MOST_PAIRS``.
    """
    blocks, total = [torch.empty(0, 2, dtype=torch.long, device=embedding.device)], 0
    low = max(low, -1.5)  # above NO_PAIR
    for row, column, cosine in _blocks(embedding, ordered):
        hit = cosine >= low if inclusive else cosine > low
        if not inclusive or high < 1:
            hit &= cosine <= high if inclusive else cosine < high
        pairs = hit.nonzero()
        if max_partners:
            pairs = limit_partners(pairs, cosine[pairs[:, 0], pairs[:, 1]], max_partners)
        total += len(pairs)
        if total > MOST_PAIRS:
            raise ValueError(f"more than {MOST_PAIRS:,} pairs among {len(embedding):,} images")
        pairs[:, 0] += row
        pairs[:, 1] += column
        blocks.append(pairs)
    return torch.cat(blocks)


def cosine_quantiles(embedding: Tensor, quantiles: list[float], bins: int = 1_000_000) -> list[float]:
    """Quantiles of the cosines of all pairs of different images, to 2 / ``bins``: from a histogram, in bounded memory."""
    counts = torch.zeros(bins, dtype=torch.float64)
    for _, _, cosine in _blocks(embedding):
        counts += torch.histc(cosine.cpu(), bins, -1, 1).double()  # NO_PAIR is out of range, and left out
    share = counts.cumsum(0) / counts.sum()
    edges = torch.linspace(-1, 1, bins + 1, dtype=torch.float64)
    # The lower edge of the bin in which the quantile falls; the top quantile must include the largest cosine.
    return [1.0 if q >= 1 else edges[int(torch.searchsorted(share, q))].item() for q in quantiles]


def limit_partners(pairs: Tensor, similarity: Tensor, most: int) -> Tensor:
    """At most ``most`` pairs for each first image, the most similar ones; the order of the list is kept.

    ``pairs`` is int64 ``[P, 2]``, ``similarity`` is ``[P]``.
    """
    order = torch.argsort(similarity, descending=True, stable=True)
    order = order[torch.argsort(pairs[order, 0], stable=True)]
    first = pairs[order, 0]
    new = torch.ones_like(first, dtype=torch.bool)
    new[1:] = first[1:] != first[:-1]
    position = torch.arange(len(first), device=first.device)
    rank = position - torch.where(new, position, 0).cummax(0).values
    return pairs[order[rank < most].sort().values]


class SPPS(Pairs):
    """Extends the list of items by the mined pairs."""

    name = "spps"

    def __init__(self, settings: SPPSSettings):
        self.settings = settings
        self.pairs = torch.empty(0, 2, dtype=torch.long)

    def prepare(self, embed: Callable[[], Tensor], draws: torch.Generator) -> str:
        """Mine the pairs."""
        settings = self.settings
        embedding = embed()
        count = max(2, round(settings.share * len(embedding)))
        chosen = torch.randperm(len(embedding), generator=draws)[:count].sort().values.to(embedding.device)
        mined = embedding[chosen]
        low, high = settings.low, settings.high
        if settings.mode == "quantile":
            low, high = cosine_quantiles(mined, [low, high])
        try:
            pairs = semantic_pairs(mined, low, high, settings.ordered, settings.inclusive, settings.max_partners)
        except ValueError as error:
            raise UserError(
                f"strategies.spps: {error} with a cosine from {low:.4f} to {high:.4f}; raise low, or set max_partners"
            ) from None
        self.pairs = chosen[pairs]
        if not len(pairs):
            nearest = -1.0
            for _, _, cosine in _blocks(mined):
                nearest = max(nearest, cosine.max().item())
            log.warning(
                "SPPS found no pair with a cosine within [%.4f, %.4f] among %d images (largest cosine seen: %.4f): "
                "this run trains its base method only; widen strategies.spps.low and high, or use mode: quantile",
                low, high, count, nearest,
            )  # fmt: skip
        return f"SPPS: {len(pairs)} pairs with a cosine within [{low:.4f}, {high:.4f}] among {count} images"

    def pair_indices(self, indices: Tensor, draws: torch.Generator) -> Tensor:
        """Instance pairs, then the mined ones."""
        return torch.cat([indices, self.pairs.to(indices.device)])
