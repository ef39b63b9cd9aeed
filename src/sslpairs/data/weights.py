"""``weights/``: files of weights that others have trained, known by their digests."""

from pathlib import Path

from sslpairs.errors import UserError
from sslpairs.files import sha256_file

FOLDER = "weights"


def here(root: Path, sha256: str) -> Path | None:
    """The file in ``weights/`` with this digest (or with one that begins with it), whatever its name; None if there is none."""
    folder = root / FOLDER
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    return next((path for path in files if path.suffix != ".part" and is_it(path, sha256)), None)


def find_weights(root: Path, sha256: str) -> Path:
    """As ``here``; ``UserError`` if there is none."""
    if found := here(root, sha256):
        return found
    raise UserError(f"{FOLDER}/: no file has the sha256 {sha256}; `sslpairs fetch` brings it (config/encoders.yaml)")


def is_it(path: Path, sha256: str) -> bool:
    """Whether a file has this digest."""
    return sha256_file(path).startswith(sha256)
