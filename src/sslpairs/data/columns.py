"""Which columns of a parquet file hold the images and their labels."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sslpairs.data.names import shown
from sslpairs.data.parquet import schema, telling
from sslpairs.data.shards import label as named
from sslpairs.errors import UserError, listed, nearest

if TYPE_CHECKING:
    import pyarrow as pa

IMAGES, LABELS = ("image", "img"), ("label", "labels", "class", "target")
"""Usual names, which decide where several columns could be meant."""


class Columns(NamedTuple):
    """What the columns of a table are."""

    data: str
    """The encoded images: a column of bytes, or the field of one: 'image.bytes'."""
    name: str | None
    """The names of their files, 'image.path', if there are any."""
    label: str
    classes: list[str] | None
    """Names of the labels 0, 1, ..., if they are stated."""


def columns(where: str, files: Sequence[Path], image: str | None = None, label: str | None = None) -> Columns:
    """What the columns of the files are: those that are named, else those that ``datasets`` notes as images and labels, those of usual
    names, or the only one of a fitting type. UserError if that does not determine them, or if the files name their classes differently."""
    found = None
    for file in files:
        with telling(where, file):
            one = _columns(f"{where}: {named(file)}", schema(where, file), image, label)
        if found and one != found:
            raise UserError(
                f"{where}: {named(files[0])} and {named(file)} differ in their columns or in the names of their classes; give the path of "
                "one data set"
            )
        found = one
    return found


def _columns(where: str, table: "pa.Schema", image: str | None, label: str | None) -> Columns:
    data = _find(_Wanted("image", image, "Image", IMAGES, _image_type), where, table)
    labels = _find(_Wanted("label", label, "ClassLabel", LABELS, _label_type), where, table, data)
    inner = _image_type(table.field(data).type)
    pathed = inner and any(field.name == "path" for field in table.field(data).type)
    return Columns(data + inner, f"{data}.path" if pathed else None, labels, _class_names(_noted(table).get(labels)))


class _Wanted(NamedTuple):
    what: str
    asked: str | None
    noted: str
    usual: Sequence[str]
    fits: "Callable[[pa.DataType], str | None]"


def _find(wanted: _Wanted, where: str, table: "pa.Schema", other: str | None = None) -> str:
    """The name of a column that is not ``other``."""
    names = [name for name in table.names if name != other]
    has, setting = f"it has {listed(table.names)}", f"'{wanted.what}_column' under its source in config/datasets.yaml"
    if wanted.asked is not None:
        if wanted.asked not in names:
            hint = nearest(wanted.asked, names)
            raise UserError(f"{where} has no column '{shown(wanted.asked)}'{hint} ({has}); correct {setting}")
        if wanted.fits(table.field(wanted.asked).type) is None:
            raise UserError(f"{where}: {_misfit(wanted, wanted.asked, table)}; correct {setting}")
        return wanted.asked
    noted = _noted(table)
    fitting = [name for name in names if wanted.fits(table.field(name).type) is not None]
    fitting = [name for name in fitting if noted.get(name, {}).get("_type") == wanted.noted] or fitting
    usual = [name for name in wanted.usual if name in fitting]
    if len(fitting) == 1 or usual:
        return (usual or fitting)[0]
    if fitting:
        raise UserError(f"{where}: {listed(fitting)} may be the column of {wanted.what}s; name it: {setting}")
    if misfit := [name for name in wanted.usual if name in names]:
        raise UserError(
            f"{where}: {_misfit(wanted, misfit[0], table)}; get the data with encoded images, one label each"
        )
    raise UserError(
        f"{where} has no column of {wanted.what}s ({has}); get the data with encoded images, one label each"
    )


def _misfit(wanted: _Wanted, name: str, table: "pa.Schema") -> str:
    fitting = "the bytes of images" if wanted.what == "image" else "whole numbers or words"
    return f"the column '{shown(name)}' holds {shown(str(table.field(name).type))}, not {fitting}"


def _image_type(kind: "pa.DataType") -> str | None:
    """'' for bytes, '.bytes' for a struct that has them, None for anything else."""
    from pyarrow import types

    def is_bytes(kind: "pa.DataType") -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)

    if types.is_struct(kind):
        return ".bytes" if any(field.name == "bytes" and is_bytes(field.type) for field in kind) else None
    return "" if is_bytes(kind) else None


def _label_type(kind: "pa.DataType") -> str | None:
    """'' for whole numbers and words, None for anything else."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    words = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return "" if words or types.is_integer(kind) or types.is_boolean(kind) else None


def _noted(table: "pa.Schema") -> dict[str, dict]:
    """What ``datasets`` notes about each column; nothing if it did not write the file."""
    try:
        features = json.loads((table.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _class_names(feature: dict | None) -> list[str] | None:
    names = (feature or {}).get("names")
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
