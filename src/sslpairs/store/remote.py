"""A DVC remote, and DVC's cache here."""

import contextlib
import errno
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sslpairs.dvc import storage
from sslpairs.errors import UserError
from sslpairs.files import both_digests, unwritable
from sslpairs.words import SECRET, redact

SIDE_BY_SIDE = 8
"""Number of parallel transfers."""


Progress = Callable[[int, int, str], None]
"""Called with the number of objects done, the number of all objects, and a status text."""


class Remote:
    """A remote in ``.dvc/config``, by name (default: the one added by ``dvc remote add --default``), and DVC's cache on this machine.
    All results come from the remote itself, never from DVC's memory of it. ``UserError`` if there is no such remote, or it does not
    respond."""

    def __init__(self, root: Path, name: str | None = None):
        store = storage(root, name)
        self.name, self.cache, self.fs, self.path_of = store.name, store.cache, store.files, store.path_of
        # The folder of its URL; objects are in files/md5 below it.
        self.folder = self.fs.parent(self.fs.parent(store.path))
        self.url = redact(store.url)
        self.secrets = _secrets(store.shared)
        """Secrets in the settings that are in git."""
        self.in_git = self.name in store.shared.get("remote", {})
        self.hidden = [unquote(urlsplit(store.url).password or "") if "://" in store.url else ""]
        self.hidden += [str(value) for key, value in store.settings.items() if SECRET.search(key)]
        """Values that no message may contain."""

    @contextlib.contextmanager
    def _responding(self) -> Iterator[None]:
        """Turn the errors of the remote, which every file system has of its own, into ``UserError``."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            reason = redact(" ".join(str(error).split()) or type(error).__name__, self.hidden)
            raise UserError(
                f"remote '{self.name}' ({self.url}) failed: {reason[:300]}; check the address, the network "
                "and the permissions (`dvc remote list`), then run the same command again"
            ) from error

    def cached(self, oid: str) -> Path:
        """Path of an object in DVC's cache on this machine, whether it exists or not."""
        return self.cache / oid[:2] / oid[2:]

    def find_folder(self, to_fill: bool = False) -> None:
        """``UserError`` if this remote is a folder that does not exist, for example on a disk that is not mounted. With ``to_fill``
        only its parent must exist."""
        protocol, folder = self.fs.protocol, self.folder
        if protocol not in ("local", "ssh") or (protocol == "ssh" and to_fill):
            return
        with self._responding():
            folder = self.fs.parent(folder) if to_fill else folder
            exists = self.fs.exists(folder)
        if not exists:
            raise UserError(
                f"remote '{self.name}' ({self.url}): {folder} does not exist; mount its disk, create that folder, or set another address: "
                f"`dvc remote modify {self.name} url ADDRESS`"
            )

    def size(self, oid: str) -> int | None:
        """Bytes of an object on the remote, None if it does not hold it."""
        with self._responding(), contextlib.suppress(FileNotFoundError):
            return self.fs.info(self.path_of(oid))["size"]
        return None

    def sizes(self, oids: Iterable[str]) -> dict[str, int | None]:
        """Sizes of several objects."""
        oids = list(dict.fromkeys(oids))
        first = {oid: self.size(oid) for oid in oids[:1]}  # alone: connects, or fails, once and not eight times
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            return first | dict(zip(oids[1:], pool.map(self.size, oids[1:]), strict=True))

    def md5(self, oid: str) -> str:
        """md5 of an object's bytes, read back from the remote."""
        digest = hashlib.md5(usedforsecurity=False)
        with self._responding(), self.fs.open(self.path_of(oid), "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def put(self, path: Path, oid: str) -> None:
        """Upload a file."""
        to = self.path_of(oid)
        with self._responding():
            try:
                self.fs.makedirs(self.fs.parent(to), exist_ok=True)
                self.fs.put_file(str(path), to)
            except FileNotFoundError as error:
                if not path.exists():
                    raise UserError(f"{path}: disappeared while it was sent; run the same command again") from error
                raise

    def get(self, oid: str, path: Path) -> bool:
        """Fetch an object from DVC's cache on this machine or from the remote; False if neither holds it."""
        with self._responding():
            try:
                if is_object(self.cached(oid), oid):
                    shutil.copyfile(self.cached(oid), path)
                    return True
                if self.size(oid) is None:
                    return False
                self.fs.get_file(self.path_of(oid), str(path))
            except OSError as error:
                if error.filename == str(path) or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                    raise UserError(unwritable(path.parent, error)) from error
                raise
        return True


def is_object(path: Path, oid: str) -> bool:
    """Whether a file exists and has exactly the bytes of an object."""
    return path.exists() and both_digests(path)[1] == oid.removesuffix(".dir")


def _secrets(settings: dict[str, Any]) -> list[str]:
    """Descriptions of the passwords and keys in a file of DVC's settings."""
    secrets = []
    for section, names in settings.items():
        for name, options in names.items():
            owner = f"{section} '{name}'" if isinstance(options, dict) else section
            for key, value in (options if isinstance(options, dict) else {name: options}).items():
                if SECRET.search(key):
                    secrets.append(f"{key} of {owner}")
                elif isinstance(value, str) and redact(value) != value:
                    secrets.append(f"the password in the {key} of {owner}")
    return secrets


def side_by_side(work: Callable[[Any], None], items: list) -> Iterator[tuple[Any, UserError | None]]:
    """Run ``work`` on all items in parallel; yields each item with its error or None."""

    def one(item: Any) -> tuple[Any, UserError | None]:
        try:
            work(item)
        except UserError as error:
            return item, error
        return item, None

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield from pool.map(one, items)
