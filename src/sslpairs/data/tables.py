"""Tables of images as CSV or TSV files: which file, label and split each row has.

The csv module reads them, not pandas: it leaves all values texts (``007``, ``NA``), and knows the line of each row for errors.
"""

import csv
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sslpairs.config.sources.csv import CSVSettings
from sslpairs.data.archives import SUFFIXES
from sslpairs.data.memory import in_bytes
from sslpairs.data.names import same_spelling, shown, unusable_as_class
from sslpairs.errors import UserError, listed, nearest

DELIMITERS = (",", "\t", ";")
MAX_TABLE = 1 << 30
"""Maximum bytes of a table: ten million rows."""
SPLITS = {
    "train": "train",
    "test": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "unlabelled": "unlabelled",
    "unlabeled": "unlabelled",
}
"""What a table may call a split, in any case -> what it is."""


class Row(NamedTuple):
    """A row with a value in each column that is used."""

    line: int
    """Its first line in the file, counted from 1."""
    path: str
    label: str
    """'' for none."""
    split: str
    """train, test or val; images of 'unlabelled' are in train, without a label."""


def read_table(where: str, file: Path, source: CSVSettings) -> Iterator[Row]:
    """Rows in order, with the columns that ``source`` names. UserError, with the line, for the first that cannot be used."""
    text = _text(where, file)
    delimiter, header = _header(where, text, source)
    parts, label, split = _columns(source)
    at = {column: header.index(column) for column in header}
    labels = {"": None}  # and why they cannot be used
    for line, values in _rows(where, text, delimiter):
        if line == 1 or not any(values):
            continue
        here = f"{where}: line {line}"
        if len(values) != len(header):
            raise UserError(
                f"{here} has {len(values)} values, but the header names {len(header)} columns; correct that line"
            )
        used = [values[at[part]] if column else part for part, column in parts]
        if empty := [part for (part, column), value in zip(parts, used, strict=True) if column and not value]:
            raise UserError(f"{here}: there is no {shown(empty[0])} in it; add it, or remove the line")
        path, of = "".join(used), sys.intern(same_spelling(values[at[label]]))
        if "\0" in path:
            raise UserError(f"{here}: {shown(path)} cannot be a path; correct that line")
        if of not in labels:
            labels[of] = unusable_as_class(of)
        if reason := labels[of]:
            raise UserError(f"{here}: the label '{shown(of)}' {reason}; correct that line")
        said = values[at[split]] if split in at else "train"
        if (part := SPLITS.get(said.lower())) is None:
            raise UserError(f"{here}: the split is '{shown(said)}', not one of {', '.join(SPLITS)}; correct that line")
        if part in ("test", "val") and not of:
            raise UserError(
                f"{here}: an image of {said} has no label; add it, or remove the line (training images need none)"
            )
        yield Row(line, path, "" if part == "unlabelled" else of, "train" if part == "unlabelled" else part)


def _text(where: str, file: Path) -> str:
    try:
        size = file.stat().st_size
        data = file.read_bytes() if size <= MAX_TABLE else b""
    except OSError as error:
        raise UserError(f"{where} cannot be read ({error.strerror or error}); check the permissions") from error
    if size > MAX_TABLE:
        raise UserError(f"{where} has {in_bytes(size)}, too much for a table of images; cut it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{where}: line {line} is not UTF-8; save the table as CSV with the encoding UTF-8") from error


def _rows(where: str, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row's first line and its values, without blanks around them."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    line = 1
    try:
        for values in reader:
            yield line, [value.strip() for value in values]
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{where}: line {line} is not a row of a CSV table ({error}); correct that line") from error


def _header(where: str, text: str, source: CSVSettings) -> tuple[str, list[str]]:
    """The delimiter and the columns: of the delimiters, the one with which all columns that are needed are there."""
    parts, label, split = _columns(source)
    settings = {part: "path_column" for part, column in parts if column} | {label: "label_column"}
    settings |= {source.split_column: "split_column"} if source.split_column else {}
    headers = {sign: next(_rows(where, text, sign), (1, [""]))[1] for sign in DELIMITERS}
    best = max(DELIMITERS, key=lambda sign: (sum(column in headers[sign] for column in settings), len(headers[sign])))
    header = headers[best]
    if absent := [column for column in settings if column not in header]:
        raise UserError(
            f"{where}: there is no column '{shown(absent[0])}' in its first line ({listed(header, 10)})"
            f"{nearest(absent[0], header)}\ncorrect '{settings[absent[0]]}' under its source, or add a first line with names"
        )
    if double := [column for column in (*settings, split) if header.count(column) > 1]:
        raise UserError(f"{where}: its first line names the column '{shown(double[0])}' twice; rename one")
    return best, header


def _columns(source: CSVSettings) -> tuple[list[tuple[str, bool]], str, str]:
    """The pieces of a path, texts or (True) columns, and the columns of labels and splits."""
    pieces = re.split(r"\{([^{}]+)\}", source.path_column)
    parts = [(piece.strip() if n % 2 else piece, n % 2 == 1) for n, piece in enumerate(pieces) if piece]
    if len(pieces) == 1:
        parts = [(source.path_column, True)]
    return parts, source.label_column, source.split_column or "split"


def table_in(where: str, path: Path) -> Path:
    """The table at ``path``, a file or a folder with just one."""
    if path.is_file() and path.name.lower().endswith(SUFFIXES):
        raise UserError(
            f"{where} is an archive; give the path of the table, which must lie outside of it, and the archive as 'images'"
        )
    if path.is_file():
        return path
    if not path.is_dir():
        link = f" (it is a link to {shown(os.readlink(path))})" if path.is_symlink() else ""
        raise UserError(f"{where}: there is no such file or folder{link}; put the data there, or correct 'path'")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in (".csv", ".tsv") and file.is_file())
    found = [file for file in found if not file.name.startswith(".")]
    if len(found) == 1:
        return found[0]
    names = ", ".join(shown(file.name) for file in found[:5])
    what = f"there are several tables in it ({names})" if found else "there is no .csv or .tsv file in it"
    raise UserError(f"{where}: {what}; give the path of the table of images as 'path' in config/datasets.yaml")
