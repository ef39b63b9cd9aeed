"""Images that are encoded files of a folder or archive: their names, and their bytes in storage order."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslpairs.data.archives import Member, members
from sslpairs.data.names import shown
from sslpairs.data.progress import track
from sslpairs.errors import UserError


@dataclass(frozen=True)
class Listed:
    """Files to read from a folder or archive."""

    where: str
    """How errors name it."""
    path: Path
    classes: list[str]
    files: dict[str, list[str]]
    """Split -> the names of its images, in the order of their labels."""
    labels: dict[str, np.ndarray]
    """Split -> int64 ``[N]``."""


def encoded(name: str, listed: Listed, doing: str) -> Iterator[tuple[str, int, Member]]:
    """The second pass: split, position in the split and bytes of each listed image, in storage order.

    ``doing`` is the verb shown as progress. UserError if the source is damaged or changes meanwhile.
    """
    slots = {file: (split, index) for split, files in listed.files.items() for index, file in enumerate(files)}
    unread = set(slots)
    wanted = (member for member in members(listed.where, listed.path, slots) if member.data is not None)
    for member in track(wanted, len(slots), name, doing):
        yield *slots[member.name], member
        unread.discard(member.name)
    if unread:
        raise UserError(
            f"{listed.where}: {shown(min(unread))} disappeared while it was being read; run the command again"
        )


def unusable(where: str, file: str, reason: object) -> str:
    """Error message for a file of the source that cannot be decoded."""
    return f"{where}: {shown(file)} cannot be read as an image ({reason}); replace it or remove it"
