"""Fetch published checkpoints and data."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from sslpairs.data.folders import place, verify
from sslpairs.data.record import recorded, tracked
from sslpairs.errors import UserError
from sslpairs.files import sha256_file
from sslpairs.locks import exclusive
from sslpairs.plan.paths import checkpoint_file, pointer_file, run_folder
from sslpairs.plan.pointers import Pointer, pointer_of
from sslpairs.plan.records import Receipt, read_receipt
from sslpairs.store.remote import Progress, Remote, is_object, side_by_side


@dataclass
class Restored:
    """Result of ``restore``."""

    fetched: list[str] = field(default_factory=list)
    in_place: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    bytes: int = 0


def restore(root: Path, runs: list[str], remote_name: str | None = None, progress: Progress | None = None) -> Restored:
    """Fetch the checkpoints of finished runs. Each one is compared with the sha256 of its receipt before it is put in place; a
    damaged one that is already there is replaced, an intact one is kept.

    Problems of single runs are collected; ``UserError`` if the remote does not respond at all.
    """
    done = Restored()
    waiting: list[tuple[str, Receipt, Pointer]] = []
    for run in runs:
        try:
            if receipt := _absent(run, root):
                waiting.append((run, receipt, pointer_of(receipt)))
            else:
                done.in_place.append(run)
        except UserError as error:
            done.problems[run] = str(error)
    if not waiting:
        return done
    remote = Remote(root, remote_name)
    oids = [pointer.md5 for _, _, pointer in waiting]
    if not all(remote.cached(oid).exists() for oid in oids):
        remote.find_folder()  # alone: connects, or fails, once and not eight times
        remote.size(oids[0])

    def fetch(item: tuple[str, Receipt, Pointer]) -> None:
        run = item[0]
        folder = root / run_folder(run)
        temporary = folder / f".checkpoint.pt.{os.getpid()}.tmp"
        with exclusive(folder / ".lock", f"{run}: another process is training or restoring it; waiting for it"):
            receipt = _absent(run, root)  # check again: the process that held the lock may have trained or restored it
            if receipt is None:
                return
            pointer = pointer_of(receipt)
            for leftover in folder.glob(".checkpoint.pt.*.tmp"):
                leftover.unlink(missing_ok=True)
            try:
                if not remote.get(pointer.md5, temporary):
                    raise UserError(
                        f"{run}: remote '{remote.name}' ({remote.url}) does not hold its checkpoint ({pointer.md5}): run "
                        f"`sslpairs publish` where the checkpoint is, or train it again: `sslpairs train {run}`"
                    )
                if sha256_file(temporary) != receipt["checkpoint"]["sha256"]:
                    raise UserError(
                        f"{run}: what remote '{remote.name}' ({remote.url}) holds is damaged, or not the checkpoint that run.json "
                        f"names; it is not used. Run `sslpairs publish --deep` where the checkpoint is, or `sslpairs train {run}`"
                    )
                os.replace(temporary, folder / "checkpoint.pt")
            finally:
                temporary.unlink(missing_ok=True)

    for number, (item, error) in enumerate(side_by_side(fetch, waiting), start=1):
        if error:
            done.problems[item[0]] = str(error)
        else:
            done.fetched.append(item[0])
            done.bytes += item[2].size
        if progress:
            progress(number, len(waiting), f"{done.bytes / 1e6:,.1f} MB")
    return done


def _absent(run: str, root: Path) -> Receipt | None:
    """The receipt of a run whose checkpoint must be restored; None if it is in place. ``UserError`` if it cannot be restored."""
    receipt = read_receipt(run, root)
    path = root / checkpoint_file(run)
    if receipt is None:
        raise UserError(f"{run}: no receipt here: it was never trained, or its receipt was not pulled (`git pull`)")
    if receipt.get("run") != run:
        raise UserError(
            f"{run}: its run.json is the receipt of another run ({receipt.get('run')}); `git checkout` the right one"
        )
    if path.exists() and sha256_file(path) == receipt["checkpoint"]["sha256"]:
        return None
    if not (root / pointer_file(run)).exists():
        what = "damaged" if path.exists() else "gone"
        raise UserError(f"{run}: its checkpoint is {what} and was never published; `sslpairs train {run}` recreates it")
    return receipt


def restore_dataset(name: str, root: Path, remote_name: str | None = None) -> dict | None:
    """Fetch a published data set, completely or not at all; returns its receipt, or None if DVC does not know it.

    ``UserError`` if the remote does not respond, or if its copy is not what ``data.dvc`` records.
    """
    listing = tracked(root)
    if listing is None:
        return None
    remote, wanted = Remote(root, remote_name), recorded(root)[name]
    where = f"remote '{remote.name}' ({remote.url})"
    mend = "run `sslpairs publish --deep` where the data are"

    def fill(folder: Path) -> dict:
        entries = read_listing(listing, remote, folder / ".listing")
        (folder / ".listing").unlink(missing_ok=True)
        if entries is None:
            remote.find_folder()
            raise UserError(f"{where} does not hold an intact copy of DVC's listing of data/ ({listing}); {mend}")
        for entry in entries:
            owner, _, file = entry["relpath"].partition("/")
            if owner != name or "/" in file or file in ("", ".", ".."):
                continue
            if not remote.get(entry["md5"], folder / file):
                raise UserError(f"{where} does not hold data/{name}/{file}; {mend}")
            if not is_object(folder / file, entry["md5"]):
                raise UserError(f"{where} holds a damaged data/{name}/{file}; {mend}")
        receipt = verify(name, root, folder)
        if receipt["content"] != wanted:
            raise UserError(
                f"{where}: data/{name} is not the one that data.dvc records; `git checkout data.dvc`, or {mend}"
            )
        return receipt

    return place(name, root, fill)


def read_listing(oid: str, remote: Remote, path: Path) -> list[dict[str, str]] | None:
    """DVC's list of the files below ``data/``, from its cache or the remote, also written to ``path``; None if neither has an intact
    copy."""
    if remote.get(oid, path) and is_object(path, oid):
        return json.loads(path.read_bytes())
    return None
