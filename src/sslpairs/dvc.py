"""All uses of DVC 3.67: its command line to track a folder, and internals that are not a stable API."""

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslpairs.errors import UserError
from sslpairs.words import redact


def add(target: str, root: Path) -> str | None:
    """Track a file or folder with DVC; returns None, or DVC's error message."""
    _mend_rwlock(root)
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "add", target]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return errors[0] if errors else f"dvc add {target} ended with code {done.returncode}"


def _mend_rwlock(root: Path) -> None:
    """Remove a damaged rwlock file: DVC writes it in place, and would never start again if killed during the write."""
    import zc.lockfile

    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(path.read_text())
    except ValueError:
        with contextlib.suppress(zc.lockfile.LockError):
            lock = zc.lockfile.LockFile(str(path.with_suffix(".lock")))  # held by DVC while it writes
            path.unlink(missing_ok=True)
            lock.close()
    except OSError:
        pass


@dataclass(frozen=True)
class Storage:
    """A remote as DVC's settings describe it, and DVC's cache on this machine."""

    name: str
    files: Any
    """Its fsspec file system."""
    path: str
    """Path of its objects."""
    cache: Path
    url: str
    settings: dict[str, Any]
    """Settings of this remote."""
    shared: dict[str, Any]
    """All settings that are in git."""
    path_of: Any
    """Object id -> its path on the remote."""


def storage(root: Path, name: str | None = None) -> Storage:
    """The remote with this name, or the default one. ``UserError`` if there is none, or if a library for it is missing."""
    from dvc.config import NoRemoteError, RemoteNotFoundError
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.fs import RemoteMissingDepsError
    from dvc.repo import Repo
    from dvc.scm import NoSCM

    try:
        repo = Repo(str(root), scm=NoSCM(str(root)))  # a published project may come as an archive, without git
        name = name or repo.config["core"].get("remote")
        odb = repo.cloud.get_remote_odb(name, "publish")
    except NotDvcRepoError:
        raise UserError(f"{root}: no .dvc/ here; run `git init && dvc init`") from None
    except NoRemoteError:
        raise UserError(
            "no remote is set: run `dvc remote add --default store ../sslpairs-store` for a folder; see docs/publishing.md "
            "for ssh and s3"
        ) from None
    except RemoteNotFoundError:
        known = ", ".join(repo.config["remote"]) or "none"
        raise UserError(f"there is no remote '{name}' in .dvc/config (known: {known})") from None
    except (RemoteMissingDepsError, ImportError):
        url = redact(repo.config["remote"][name]["url"])
        kind = url.partition("://")[0]
        extra = f"sslpairs[{kind}]" if kind in ("ssh", "s3") else f"dvc[{kind}]"
        raise UserError(
            f"remote '{name}' ({url}): a library is missing; run `.venv/bin/uv pip install --python .venv/bin/python '{extra}'`"
        ) from None
    except DvcException as error:
        raise UserError(f".dvc/config: {' '.join(str(error).split())}; fix it with `dvc remote`") from None
    settings = repo.config["remote"][name]
    return Storage(
        name,
        odb.fs,
        odb.path,
        Path(repo.cache.local.path),
        settings["url"],
        settings,
        repo.config.read("repo"),
        odb.oid_to_path,
    )
