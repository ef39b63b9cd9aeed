"""The smallest entries of the rows of a large matrix product, computed in blocks."""

import torch
from torch import Tensor

BLOCK_ENTRIES = 1 << 26
"""Products held at once: 256 MB in float32, 1,342 rows at 50,000 images."""
CHUNK = 32
"""Columns per chunk whose minimum is checked first."""
PIECE_ENTRIES = 1 << 20
"""Products that are sorted at once for large k: their keys stay in the processor's cache."""


@torch.no_grad()
def smallest_products(left: Tensor, right: Tensor, k: int, own: float | None = None) -> tuple[Tensor, Tensor]:
    """The k smallest entries of each row of ``left @ right.T``, smallest first; ties in favour of the lower column.

    ``left`` is ``[Q, D]``, ``right`` ``[N, D]``, k from 1 to N; returns values ``[Q, k]`` and columns int64 ``[Q, k]``.
    ``own`` replaces the products of rows with the same index (the diagonal).

    For small k, only the k chunks of columns with the smallest minima are searched: any other chunk has k entries before its
    own, so the result is exact.
    """
    count = len(right)
    chunk = CHUNK if 4 * k * CHUNK <= count else 1
    chunks = -(-count // chunk)
    rows = max(1, min(len(left), BLOCK_ENTRIES // (chunks * chunk)))
    # Padding columns of the last chunk come last, whatever the products are.
    block = left.new_full((rows, chunks * chunk), torch.inf)
    blocks = []
    for start in range(0, len(left), rows):
        part = left[start : start + rows]
        product = block[: len(part)]
        torch.mm(part, right.T, out=product[:, :count])
        if own is not None:
            product.diagonal(start).fill_(own)
        if chunk == 1:
            blocks += [_smallest(piece, k) for piece in product.split(max(1, PIECE_ENTRIES // count))]
        else:
            blocks.append(_smallest_by_chunks(product, k, chunk))
    values, columns = zip(*blocks, strict=True)
    return torch.cat(values), torch.cat(columns)


def _smallest_by_chunks(product: Tensor, k: int, chunk: int) -> tuple[Tensor, Tensor]:
    rows, chunks = len(product), product.shape[1] // chunk
    nearest = _smallest(product.view(rows, chunks, chunk).amin(2), k)[1]
    # In ascending order, so that candidates are ordered by column.
    nearest = nearest.sort(1).values
    first = torch.arange(0, rows * chunks, chunks, device=product.device)[:, None]
    candidates = product.view(rows * chunks, chunk).index_select(0, (first + nearest).flatten()).view(rows, k * chunk)
    values, position = _smallest(candidates, k)
    return values, nearest.gather(1, position // chunk) * chunk + position % chunk


def _smallest(matrix: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and columns of each row's k smallest entries; ``topk`` alone would break ties arbitrarily."""
    if matrix.dtype != torch.float32:
        values, columns = matrix.sort(dim=1, stable=True)
        return values[:, :k], columns[:, :k]
    # Bits of floats as integers in the same order (+ 0.0 makes -0.0 equal to 0.0), above the column.
    bits = (matrix + 0.0).view(torch.int32)
    keys = bits.bitwise_xor_((bits >> 31).bitwise_and_(0x7FFFFFFF)).long()
    keys.bitwise_left_shift_(32).add_(torch.arange(matrix.shape[1], device=matrix.device))
    columns = keys.topk(k, dim=1, largest=False).values & 0xFFFFFFFF
    return matrix.gather(1, columns), columns
