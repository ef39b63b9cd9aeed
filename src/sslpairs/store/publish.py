"""Send checkpoints and data to a remote."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from sslpairs.clones import notes, uncommitted
from sslpairs.data.folders import verify
from sslpairs.data.record import recorded, track_anew, tracked, untracked
from sslpairs.errors import UserError
from sslpairs.files import write_atomic
from sslpairs.git import NoRepository
from sslpairs.locks import exclusive
from sslpairs.plan.build import Build
from sslpairs.plan.paths import checkpoint_file, evaluation_file, pointer_file, receipt_file
from sslpairs.plan.pointers import Pointer, pointer_of, read_pointer
from sslpairs.store.remote import Progress, Remote, is_object, side_by_side
from sslpairs.store.restore import read_listing
from sslpairs.store.staging import Published, small_files, stage


@dataclass(frozen=True)
class _Object:
    oid: str
    size: int
    path: Path | None
    """Its file on this machine."""
    run: str | None
    """The run of this checkpoint; None for data."""


def publish(
    build: Build, runs: list[str], remote_name: str | None = None, deep: bool = False, progress: Progress | None = None
) -> Published:
    """Send the checkpoints of finished runs (and the data) to a remote, confirm that it holds each one, write pointers, and stage
    pointers, receipts, metrics and evaluations for git. Can be repeated at any time, and after any interruption.

    ``deep`` reads everything back from the remote and resends what differs. Problems of single runs are collected;
    ``UserError`` if the remote does not respond at all, or git does not accept the files.
    """
    root, done = build.root, Published()
    remote = Remote(root, remote_name)
    with exclusive(
        root / ".dvc/tmp/sslpairs-publish.lock", "another `sslpairs publish` is running here; waiting for it"
    ):
        chosen = set(runs)
        evaluations = {str(evaluation_file(name)) for name, e in build.plan.evaluations.items() if e["run"] in chosen}
        remote.find_folder(to_fill=True)
        _ = build.evaluated  # reads all records
        damaged = {
            name: line for name, line in build.damage.items() if name in evaluations or Path(name).parent.name in chosen
        }
        done.problems += damaged.values()
        done.unfinished = sum(run not in build.receipts and str(receipt_file(run)) not in damaged for run in runs)
        runs = [run for run in runs if run in build.receipts]
        data = _data(root, remote, done)
        objects = _checkpoints(build, runs, done) + (data or [])
        sizes = remote.sizes(item.oid for item in objects)

        def send(item: _Object) -> None:
            whole = sizes[item.oid] == item.size
            if whole and not (deep and remote.md5(item.oid) != item.oid.removesuffix(".dir")):
                return
            remote.put(_source(item, remote, whole), item.oid)
            if remote.size(item.oid) != item.size or (deep and remote.md5(item.oid) != item.oid.removesuffix(".dir")):
                raise UserError(
                    f"{item.run or 'data/'}: remote '{remote.name}' ({remote.url}) did not keep what was sent; is it full?"
                )
            sent.append(item)

        sent: list[_Object] = []
        failed, whole_data = 0, data is not None
        for number, (item, error) in enumerate(side_by_side(send, objects), start=1):
            if error:
                failed += 1
                whole_data &= item.run is not None
                done.problems.append(str(error))
            elif item.run:
                done.runs.append(item.run)
                _point(item, root)
            if progress:
                progress(number, len(objects), f"{sum(item.size for item in sent) / 1e6:,.1f} MB sent")
        done.sent, done.bytes = len(sent), sum(item.size for item in sent)
        done.held = len(objects) - done.sent - failed
        if not whole_data:
            done.notes.append("data.dvc is not staged, since not all of the data are in the remote")
        files = small_files(build, runs, whole_data)
        if remote.secrets:
            done.notes.append(
                f".dvc/config is not staged: it holds {', '.join(remote.secrets)}. `dvc remote modify --local` keeps secrets out of git"
            )
            files.remove(".dvc/config")
        done.staged = stage(root, files, done)
        _note_clones(build, runs, remote, done)
    return done


def _note_clones(build: Build, runs: list[str], remote: Remote, done: Published) -> None:
    """Note what a clone would lack. Git errors in this check are reported by staging."""
    if not remote.in_git:
        done.notes.append(
            f"remote '{remote.name}' is not in .dvc/config, only in this machine's settings, so a clone would not know it; `dvc remote "
            f"add --default {remote.name} URL` adds it"
        )
    with contextlib.suppress(NoRepository):
        done.uncommitted = uncommitted(build.root)
        done.notes += notes(build.root, (build.receipts[run] for run in runs), done.uncommitted)


def _point(checkpoint: _Object, root: Path) -> None:
    """Write the pointer of a checkpoint that the remote holds, unless it exists."""
    pointer = Pointer(checkpoint.oid, checkpoint.size)
    with contextlib.suppress(UserError):
        if read_pointer(checkpoint.run, root) == pointer:
            return
    write_atomic(root / pointer_file(checkpoint.run), pointer.text())


def _checkpoints(build: Build, runs: list[str], done: Published) -> list[_Object]:
    """The checkpoints named by receipts: here, or published before. Their bytes are checked when they are sent."""
    objects = []
    for run in runs:
        path, pointer = build.root / checkpoint_file(run), pointer_of(build.receipts[run])
        if path.exists() and path.stat().st_size != pointer.size:
            done.notes.append(
                f"{checkpoint_file(run)}: damaged here; `sslpairs restore {run}` or `sslpairs train {run}` fixes it"
            )
        if path.exists() or build.is_published(run):
            objects.append(_Object(pointer.md5, pointer.size, path if path.exists() else None, run))
        else:
            done.notes.append(f"{run}: its checkpoint is gone and was not published; its numbers are staged without it")
    return objects


def _source(item: _Object, remote: Remote, differs: bool) -> Path:
    """A file on this machine with exactly the object's bytes; ``UserError`` if there is none."""
    for path in (item.path, remote.cached(item.oid)):
        if path and is_object(path, item.oid):
            return path
    what = item.run or f"data/ ({item.oid})"
    if item.run and item.path and item.path.exists():
        raise UserError(
            f"{what}: {item.path.name} is damaged, or not the one that run.json names; not published. `sslpairs restore {item.run}` or "
            f"`sslpairs train {item.run}` fixes it"
        )
    raise UserError(
        f"{what}: remote '{remote.name}' ({remote.url}) "
        + ("holds a damaged copy, " if differs else "no longer holds it, ")
        + "and this machine does not have it; publish it from where it is, or "
        + (f"train it again: `sslpairs train {item.run}`" if item.run else "fetch it again: `sslpairs fetch --force`")
    )


def _data(root: Path, remote: Remote, done: Published) -> list[_Object] | None:
    """The files below data/ and DVC's listing of them; None if that cannot be published completely. Data that are here must match the
    listing or, if it is lost, their receipts."""
    listing = tracked(root)
    if listing is None:
        names = untracked(root)
        done.notes.append(
            f"data/: left out, since DVC does not track {', '.join(names) or 'it'}; `sslpairs fetch {' '.join(names)}` tracks it, or "
            "reports the problem"
        )
        return []
    kept = root / ".dvc" / "tmp" / "sslpairs-listing"
    entries = read_listing(listing, remote, kept)
    if entries is None:
        if problem := next(filter(None, (_damage(name, root) for name in recorded(root))), None):
            done.problems.append(problem)
            return None
        problem = track_anew(root)
        if problem is None:
            listing = tracked(root) or listing
            entries = read_listing(listing, remote, kept)
        if entries is None:
            done.problems.append(f"data/: DVC has lost its listing ({listing}): {problem or 'it changed'}")
            return None
    objects = [_Object(listing, kept.stat().st_size, kept, None)]
    for entry in entries:
        path, owner = root / "data" / entry["relpath"], entry["relpath"].partition("/")[0]
        if path.parent.is_dir() and not is_object(path, entry["md5"]):
            again = (
                f"data/{owner}: not the images that data.dvc records; `sslpairs fetch {owner} --force` prepares those"
            )
            done.problems.append(_damage(owner, root) or again)
            return None
        cached = remote.cached(entry["md5"])
        source = path if path.exists() else cached if is_object(cached, entry["md5"]) else None
        size = source.stat().st_size if source else remote.size(entry["md5"])
        if size is None:
            done.problems.append(
                f"data/{entry['relpath']}: neither here nor in the remote; get it: sslpairs fetch {owner}"
            )
            return None
        objects.append(_Object(entry["md5"], size, source, None))
    return objects


def _damage(name: str, root: Path) -> str | None:
    """What is wrong with a local data set, according to its receipt and ``data.dvc``."""
    try:
        if (root / "data" / name).is_dir() and verify(name, root)["content"] != recorded(root)[name]:
            return f"data/{name}: not the images that data.dvc records; `sslpairs fetch {name}` prepares those"
    except UserError as error:
        return str(error)
    return None
