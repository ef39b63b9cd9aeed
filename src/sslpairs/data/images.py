"""Images of a split, wherever they are: on the device, in the machine's memory, or still encoded in a file.

The three kinds give the same batches, bit for bit. They differ in memory and speed, and training code does not need to
know which one it uses.
"""

import math
import os
import signal
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sslpairs.data.memory import free_shared_memory
from sslpairs.data.packs import Pack
from sslpairs.errors import UserError
from sslpairs.random_streams import to_device

PIECE = 4 << 20
"""Maximum bytes that a worker decodes at once (but at least one image): small, so that all workers share the first batch."""
AHEAD = 2
"""Batches (machine's memory) or pieces per worker (streamed) that are prepared in advance."""
T, S = TypeVar("T"), TypeVar("S")


class Images(ABC):
    """uint8 images of one size, delivered in batches on ``device``."""

    def __init__(self, shape: Sequence[int], device: torch.device):
        self.shape, self.device = torch.Size(shape), device
        """``shape`` is ``[N, C, H, W]``."""

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def batches(self, indices: Iterable[Tensor]) -> Iterator[Tensor]:
        """For each int64 index batch ``[B]`` (on the CPU) its images, uint8 ``[B, C, H, W]``, on the device, in order.

        Indices may be requested a few batches ahead of the images. Duplicates in a batch are read once.
        UserError for a damaged image.
        """

    def blocks(self, size: int) -> Iterator[Tensor]:
        """All images in order, ``size`` at a time (the last block may be smaller)."""
        return self.batches(torch.arange(len(self)).split(size))


class Resident(Images):
    """Images on the device. No step waits for the host."""

    def __init__(self, tensor: Tensor):
        """``tensor`` is uint8 ``[N, C, H, W]``."""
        super().__init__(tensor.shape, tensor.device)
        self.tensor = tensor

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Tensor]:  # noqa: D102
        return (self.tensor.index_select(0, to_device(batch, self.device)) for batch in indices)

    def blocks(self, size: int) -> Iterator[Tensor]:  # noqa: D102
        return iter(self.tensor.split(size))


class Hosted(Images):
    """Images in the machine's memory (or a mapped file) for training on a GPU: a thread gathers the next batches in pinned memory,
    and they are transferred without blocking."""

    def __init__(self, tensor: Tensor, device: torch.device):
        """``tensor`` is uint8 ``[N, C, H, W]`` on the CPU."""
        super().__init__(tensor.shape, device)
        self.tensor = tensor

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Tensor]:  # noqa: D102
        for images, inverse in _ahead(self._gather, indices):
            yield _expanded(images.to(self.device, non_blocking=True), inverse)

    def _gather(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        rows, inverse = _distinct(batch)
        made = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        return torch.index_select(self.tensor, 0, rows, out=made), inverse


class Streamed(Images):
    """Images that stay encoded in a pack: worker processes decode them as needed.

    The number of workers (0: this process) only affects the speed. They start and end with each pass.
    """

    def __init__(self, pack: Pack, device: torch.device, workers: int):
        super().__init__(pack.shape, device)
        self.pack, self.workers = pack, workers
        self.rows = max(1, PIECE // math.prod(self.shape[1:]))
        """Images per piece."""

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Tensor]:  # noqa: D102
        asked: deque[tuple[int, Tensor | None]] = deque()

        def pieces() -> Iterator[list[int]]:
            for batch in indices:
                rows, inverse = _distinct(batch)
                asked.append((len(rows), inverse))
                yield from (piece.tolist() for piece in rows.split(self.rows))

        block: list[Tensor] = []
        for piece in self._decoded(pieces()):
            block.append(piece)
            if sum(map(len, block)) == asked[0][0]:
                made = torch.empty(asked[0][0], *self.shape[1:], dtype=torch.uint8, device=self.device)
                start = 0
                for part in block:
                    made[start : start + len(part)].copy_(part, non_blocking=True)
                    start += len(part)
                block.clear()
                yield _expanded(made, asked.popleft()[1])

    def _decoded(self, pieces: Iterable[list[int]]) -> Iterator[Tensor]:
        try:
            for piece in self._loader(pieces):
                if isinstance(piece, UserError):
                    raise piece
                yield piece
        except (RuntimeError, EOFError, OSError) as error:
            # The last two: the worker ended while it was handing over an image's shared memory.
            if not self.workers or (isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker")):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{self.pack.path}: a decode worker was killed ({reason})\n"
                "memory, or shared memory (/dev/shm), may be short; use fewer workers: SSLPAIRS_WORKERS=2"
            ) from error

    def _loader(self, pieces: Iterable[list[int]]) -> Iterator[Tensor | UserError]:
        before = signal.getsignal(signal.SIGCHLD)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: as requested
            loader = iter(
                DataLoader(
                    _Decoder(self.pack),
                    batch_sampler=pieces,
                    num_workers=self.workers,
                    collate_fn=_as_it_is,
                    worker_init_fn=partial(_end_with, os.getpid()),
                    pin_memory=self.device.type == "cuda",
                    prefetch_factor=AHEAD if self.workers else None,
                    multiprocessing_context="fork" if self.workers else None,
                    generator=torch.Generator(),  # it draws a number that is not used: not from the training's stream
                )
            )
        # Without torch's handler, whichever loader set it: when a worker is killed, it would raise in the middle of a training step.
        # The loader itself also notices, within five seconds.
        if threading.current_thread() is threading.main_thread():
            torchs = str(getattr(before, "__module__", "")).startswith("torch.")
            signal.signal(signal.SIGCHLD, signal.SIG_DFL if torchs or before is None else before)
        return loader


class Part(Images):
    """Some images of others, in the order of ``rows`` (int64 ``[N]``, on the CPU)."""

    def __init__(self, images: Images, rows: Tensor):
        super().__init__((len(rows), *images.shape[1:]), images.device)
        self.images, self.rows = images, rows

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Tensor]:  # noqa: D102
        return self.images.batches(self.rows[batch] for batch in indices)


class _Decoder(Dataset):
    """A pack as expected by ``DataLoader``: many indices in, one tensor or an error out (if raised, it would come as a traceback)."""

    def __init__(self, pack: Pack):
        self.pack = pack

    def __len__(self) -> int:
        return len(self.pack)

    def __getitems__(self, indices: list[int]) -> Tensor | UserError:
        made = torch.empty(len(indices), *self.pack.shape[1:], dtype=torch.uint8)
        images = made.numpy()
        try:
            for row, index in enumerate(indices):
                images[row] = self.pack.image(index)
        except UserError as error:
            return error
        return made


def _end_with(parent: int, _: int) -> None:
    """End this worker when its parent has ended, however it ended. The loader's own watchdog misses a parent that is killed before
    it starts, and such a worker would stay forever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _as_it_is(piece: T) -> T:
    return piece


def decode_workers(shape: Sequence[int]) -> int:
    """Number of processes that decode images of ``shape`` ``[..., C, H, W]``: ``SSLPAIRS_WORKERS``, or one per core available to
    this process, up to 16; fewer if shared memory, which passes the images, has no room for more."""
    text = os.environ.get("SSLPAIRS_WORKERS")
    if text is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        wanted = min(16, cores)
    elif text.isdecimal() and text.isascii():
        wanted = int(text)
    else:
        raise UserError(f"SSLPAIRS_WORKERS: '{text}' is not a number of processes; set one, such as 8, or unset it")
    piece = max(PIECE, math.prod(shape[-3:]))
    return min(wanted, free_shared_memory() // (2 * AHEAD * piece))


# --- parts ----------------------------------------------------------------------------------------------------------


def _distinct(batch: Tensor) -> tuple[Tensor, Tensor | None]:
    """The rows to read for a batch and, if it has duplicates, the position of each item among them."""
    rows, inverse = batch.unique(return_inverse=True)
    return (batch, None) if len(rows) == len(batch) else (rows, inverse)


def _expanded(images: Tensor, inverse: Tensor | None) -> Tensor:
    return images if inverse is None else images.index_select(0, to_device(inverse, images.device))


def _ahead(work: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """``work`` for each item in order; a thread works on the next ``AHEAD`` items in advance."""
    with ThreadPoolExecutor(1) as thread:
        waiting: deque = deque()
        for item in items:
            waiting.append(thread.submit(work, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
