"""Tables of images as Hugging Face keeps them: parquet files of the Hub, Arrow files of its library ``datasets``.

They are read row by row in bounded memory, and only the columns that are asked for. Needs pyarrow (the extra ``sslpairs[parquet]``).
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from sslpairs.data.decoding import MAX_BYTES
from sslpairs.data.memory import in_bytes
from sslpairs.data.names import shown
from sslpairs.data.shards import label as named
from sslpairs.errors import UserError, listed

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".arrow")
PIECE = 32 << 20
"""Bytes of rows that are in memory at once, on average."""
BUFFER = 1 << 20
"""Bytes read at once of each column."""
POINTER = b"version https://git-lfs"
ARROW_FILE = b"ARROW1"
"""First bytes of Arrow's other format, with an index of the batches at the end."""


def need_pyarrow(where: str) -> ModuleType:
    """pyarrow; UserError with the remedy where it is not installed."""
    try:
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            f"{where}: pyarrow, which reads parquet files, is not installed; run `make setup`, or in an environment of your own: "
            "pip install 'sslpairs[parquet]'"
        ) from None
    return pyarrow


@contextlib.contextmanager
def telling(where: str, file: Path) -> Iterator[None]:
    """Turn errors of reading a file into ``UserError``."""
    pa = need_pyarrow(where)
    try:
        yield
    except MemoryError as error:
        raise UserError(
            f"{where}: {named(file)} cannot be read: this machine's memory is too small for its rows"
        ) from error
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        reason = shown(" ".join(str(error).split()))
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(
                f"{where}: {named(file)} cannot be read ({reason}); check the disk and the permissions"
            ) from error
        raise UserError(f"{where}: {named(file)} is damaged or cut off ({reason}); get it again") from error


def schema(where: str, file: Path) -> "pa.Schema":
    """The columns of a file, with what ``datasets`` notes about them."""
    with telling(where, file), _opened(where, file) as table:
        return table.schema if file.suffix.lower() == ".arrow" else table.schema_arrow


def rows(
    where: str, files: Sequence[Path], columns: Sequence[str], wanted: np.ndarray | None = None
) -> Iterator[tuple]:
    """The values of these columns, as Python objects, in each row of the files, in order, in one sequential pass.

    A column is a name, or the field of a struct: ('label', 'image.bytes'). ``wanted``, bool ``[N]`` over the rows of all files, leaves
    out the others; groups of rows that have none are not read. UserError if a file is damaged or lacks a column.
    """
    return (values for _, _, values in _rows(where, files, columns, wanted))


def images(
    where: str, files: Sequence[Path], data: str, path: str | None = None, wanted: np.ndarray | None = None
) -> Iterator[bytes]:
    """The encoded images in the column ``data`` of the rows, in order, as ``rows``; ``path`` is the column of their files' names.
    UserError for a row without an image, or with only its path."""
    for file, row, (image, *name) in _rows(where, files, [data, *([path] if path else [])], wanted):
        place = f"{named(file)} row {row}"
        if not image and any(name):
            raise UserError(
                f"{where}: {place} holds only the path of an image ({shown(name[0])}), not the image; get the data with the images in it, "
                "as push_to_hub of `datasets` stores them, or give the folder of the images: kind: image-folder"
            )
        if not image:
            raise UserError(f"{where}: {place} has no image in {data}; remove the row")
        if len(image) > MAX_BYTES:
            size = in_bytes(len(image))
            raise UserError(f"{where}: {place} has {size}; an image file may have at most {in_bytes(MAX_BYTES)}")
        yield image


def _rows(
    where: str, files: Sequence[Path], columns: Sequence[str], wanted: np.ndarray | None
) -> Iterator[tuple[Path, int, tuple]]:
    """File, row in it, and values."""
    at = 0
    for file in files:
        first = at
        with telling(where, file), _opened(where, file) as table:
            for count, batches in (_arrow if file.suffix.lower() == ".arrow" else _parquet)(
                where, file, table, columns
            ):
                begin, at = at, at + count
                if wanted is not None and at > len(wanted):
                    raise UserError(f"{where}: {named(file)} changed while it was being read; run the command again")
                if wanted is not None and not wanted[begin:at].any():
                    continue
                for batch in batches():
                    numbers = np.arange(begin, begin + batch.num_rows)
                    begin += batch.num_rows
                    if wanted is not None:
                        numbers = numbers[wanted[numbers]]
                        batch = batch.take(numbers - (begin - batch.num_rows))
                    values = [_values(batch, column) for column in columns]
                    yield from zip(
                        [file] * len(numbers), (numbers - first).tolist(), zip(*values, strict=True), strict=True
                    )
    if wanted is not None and at < len(wanted):
        raise UserError(f"{where} changed while it was being read; run the command again")


def _parquet(
    where: str, file: Path, table, columns: Sequence[str]
) -> Iterator[tuple[int, Callable[[], Iterable["pa.RecordBatch"]]]]:
    """Number of rows of each group, and what reads them."""
    _check_columns(where, file, table.schema_arrow, columns)
    for group in range(table.num_row_groups):
        facts = table.metadata.row_group(
            group
        )  # not its columns: with a damaged footer, pyarrow 26 ends the process there
        at_once = _at_once(facts.num_rows, facts.total_byte_size)
        yield (
            facts.num_rows,
            partial(table.iter_batches, at_once, row_groups=[group], columns=list(columns), use_threads=False),
        )


def _arrow(
    where: str, file: Path, table, columns: Sequence[str]
) -> Iterator[tuple[int, Callable[[], Iterable["pa.RecordBatch"]]]]:
    """The same for Arrow's batches, which are mapped into memory."""
    _check_columns(where, file, table.schema, columns)
    numbers = range(getattr(table, "num_record_batches", 0))  # a stream has no such number
    for batch in map(table.get_batch, numbers) if numbers else table:
        batch.validate(full=True)  # else a damaged file could end the process
        step = _at_once(batch.num_rows, batch.nbytes)
        yield batch.num_rows, partial(map, partial(batch.slice, length=step), range(0, batch.num_rows, step))


def _at_once(count: int, size: int) -> int:
    """Rows of about ``PIECE`` bytes, of ``count`` that have ``size``."""
    return max(1, min(4096, PIECE * count // max(size, 1)))


def _check_columns(where: str, file: Path, table: "pa.Schema", columns: Sequence[str]) -> None:
    for column in columns:
        if column not in table.names and column.partition(".")[0] not in table.names:
            raise UserError(
                f"{where}: {named(file)} has no column '{shown(column)}' (it has {listed(table.names)}); get it again"
            )


def _values(batch: "pa.RecordBatch", column: str) -> list:
    from pyarrow import compute

    if column in batch.schema.names:
        return batch.column(column).to_pylist()
    outer, _, field = column.partition(".")
    return compute.struct_field(batch.column(outer), field).to_pylist()


def _opened(where: str, file: Path):
    """A parquet file of which little is in memory at once, or Arrow batches."""
    pa = need_pyarrow(where)
    with open(file, "rb") as content:
        start = content.read(len(POINTER))
        if start == POINTER:
            raise UserError(
                f"{where}: {named(file)} is a pointer of Git LFS, not the file itself; get it: git lfs pull"
            )
    if file.suffix.lower() == ".arrow":
        return (pa.ipc.open_file if start.startswith(ARROW_FILE) else pa.ipc.open_stream)(pa.memory_map(str(file)))
    return pa.parquet.ParquetFile(str(file), buffer_size=BUFFER, pre_buffer=False, page_checksum_verification=True)
