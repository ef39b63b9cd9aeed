"""The smallest entries of the rows of a large matrix product, of which only a block is ever held."""

import torch
from torch import Tensor

BLOCK_ENTRIES = 1 << 26
"""Products held at once: 256 MB in float32, 1,342 rows at 50,000 images."""
CHUNK = 32
"""Columns of which the smallest is looked at first."""
PIECE_ENTRIES = 1 << 20
"""Products that are ordered at once where k is large: their keys stay in the processor's cache."""


@torch.no_grad()
def smallest_products(left: Tensor, right: Tensor, k: int, own: float | None = None) -> tuple[Tensor, Tensor]:
    """The k smallest entries of each row of ``left @ right.T``, smallest first, and of equal ones the lower column first.

    ``left`` is ``[Q, D]``, ``right`` ``[N, D]``, k from 1 to N; returns values ``[Q, k]`` and columns int64 ``[Q, k]``.
    ``own`` takes the place of the products of equal rows' numbers (the diagonal).

    Where k is small, only the k chunks of columns with the smallest minima are searched: any other chunk has k entries
    before its own, so that the answer is exact.
    """
    count = len(right)
    chunk = CHUNK if 4 * k * CHUNK <= count else 1
    chunks = -(-count // chunk)
    rows = max(1, min(len(left), BLOCK_ENTRIES // (chunks * chunk)))
    # Columns that fill up the last chunk come last, whatever the products are.
    block = left.new_full((rows, chunks * chunk), torch.inf)
    found = []
    for start in range(0, len(left), rows):
        part = left[start : start + rows]
        product = block[: len(part)]
        torch.mm(part, right.T, out=product[:, :count])
        if own is not None:
            product.diagonal(start).fill_(own)
        if chunk == 1:
            found += [_smallest(piece, k) for piece in product.split(max(1, PIECE_ENTRIES // count))]
        else:
            found.append(_smallest_by_chunks(product, k, chunk))
    values, columns = zip(*found, strict=True)
    return torch.cat(values), torch.cat(columns)


def _smallest_by_chunks(product: Tensor, k: int, chunk: int) -> tuple[Tensor, Tensor]:
    rows, chunks = len(product), product.shape[1] // chunk
    nearest = _smallest(product.view(rows, chunks, chunk).amin(2), k)[1]
    # In rising order, so that the order of the candidates is that of their columns.
    nearest = nearest.sort(1).values
    first = torch.arange(0, rows * chunks, chunks, device=product.device)[:, None]
    candidates = product.view(rows * chunks, chunk).index_select(0, (first + nearest).flatten()).view(rows, k * chunk)
    values, place = _smallest(candidates, k)
    return values, nearest.gather(1, place // chunk) * chunk + place % chunk


def _smallest(matrix: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and columns of each row's k smallest entries; ``topk`` alone would choose among equal ones as it likes."""
    if matrix.dtype != torch.float32:
        values, columns = matrix.sort(dim=1, stable=True)
        return values[:, :k], columns[:, :k]
    # Bits of floats as integers of the same order (+ 0.0 makes -0.0 equal to 0.0), above the column.
    bits = (matrix + 0.0).view(torch.int32)
    keys = bits.bitwise_xor_((bits >> 31).bitwise_and_(0x7FFFFFFF)).long()
    keys.bitwise_left_shift_(32).add_(torch.arange(matrix.shape[1], device=matrix.device))
    columns = keys.topk(k, dim=1, largest=False).values & 0xFFFFFFFF
    return matrix.gather(1, columns), columns
