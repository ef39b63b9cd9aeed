"""Embeddings of the whole batch when several processes each embed a share of its rows."""

from collections.abc import Sequence
from dataclasses import replace

from sslpairs.distributed.gather import whole_rows
from sslpairs.distributed.processes import current_world
from sslpairs.methods.base import Embeddings


def whole_batches(shares: Sequence[Embeddings | None]) -> list[Embeddings | None]:
    """Embeddings of whole batches, gathered from each process's share."""
    if current_world().size == 1:
        return list(shares)
    parts = [emb.parts() if emb else {} for emb in shares]
    rows = iter(whole_rows([value for part in parts for value in part.values()]))
    return [
        emb and replace(emb, **{name: next(rows) for name in part}) for emb, part in zip(shares, parts, strict=True)
    ]
