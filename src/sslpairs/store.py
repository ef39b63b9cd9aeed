"""Checkpoints and data beyond this machine: publish them to a DVC remote, restore them, say what a remote really holds.

Files, pointers and remotes are DVC's, so that ``dvc pull`` and ``dvc push`` work on them as well. Its commands are not used
for that: ``dvc add`` writes pointers in place (a kill leaves half of one) and copies every file into its cache; ``dvc push``
believes its memory of what a remote holds, even of a remote that was emptied. Here a pointer is written whole, and only once
the remote itself has said that it holds the object.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sslpairs.clones import notes, uncommitted
from sslpairs.data.prepare import place, verify
from sslpairs.data.record import recorded, track_anew, tracked, untracked
from sslpairs.errors import UserError
from sslpairs.files import both_digests, exclusive, read_record, sha256_file, unwritable, write_atomic
from sslpairs.git import NoRepository, ask
from sslpairs.plan.build import Build, Pointer, evaluation_file, pointer_file, pointer_of, read_pointer, run_folder
from sslpairs.words import SECRET, redact

SIDE_BY_SIDE = 8
"""Transfers at once."""
MARK = "sslpairs publish\n"
"""Content of the git lock of a publish: a lock that a killed one left is known by it."""

Progress = Callable[[int, int, str], None]
"""Called with the objects done, all objects, and a line of facts."""


# --- remotes --------------------------------------------------------------------------------------------------------


class Remote:
    """A remote of ``.dvc/config``, by its name (default: the one that ``dvc remote add --default`` made), and DVC's cache
    on this machine. All answers come from the remote itself, never from DVC's memory of it. ``UserError`` when there is no
    such remote, or it does not answer."""

    def __init__(self, root: Path, name: str | None = None):
        from dvc.config import NoRemoteError, RemoteNotFoundError
        from dvc.exceptions import DvcException, NotDvcRepoError
        from dvc.fs import RemoteMissingDepsError
        from dvc.repo import Repo
        from dvc.scm import NoSCM

        try:
            repo = Repo(str(root), scm=NoSCM(str(root)))  # a published project may come as an archive, without git
            self.name = name or repo.config["core"].get("remote")
            self.cache = Path(repo.cache.local.path)
            odb = repo.cloud.get_remote_odb(self.name, "publish")
        except NotDvcRepoError:
            raise UserError(f"{root}: no .dvc/ here; run `git init && dvc init`") from None
        except NoRemoteError:
            raise UserError(
                "no remote is set: `dvc remote add --default store ../sslpairs-store` takes a folder; docs/publishing.md "
                "says how to use ssh and s3"
            ) from None
        except RemoteNotFoundError:
            known = ", ".join(repo.config["remote"]) or "none"
            raise UserError(f"there is no remote '{self.name}' in .dvc/config (known: {known})") from None
        except (RemoteMissingDepsError, ImportError):
            url = redact(repo.config["remote"][self.name]["url"])
            kind = url.partition("://")[0]
            extra = f"sslpairs[{kind}]" if kind in ("ssh", "s3") else f"dvc[{kind}]"
            raise UserError(
                f"remote '{self.name}' ({url}): a library is missing; run `.venv/bin/uv pip install --python .venv/bin/python "
                f"'{extra}'`"
            ) from None
        except DvcException as error:
            raise UserError(f".dvc/config: {' '.join(str(error).split())}; mend it with `dvc remote`") from None
        self.fs, self.path_of = odb.fs, odb.oid_to_path
        self.folder = odb.fs.parent(
            odb.fs.parent(odb.path)
        )  # what its address names; objects lie in files/md5 below it
        url = repo.config["remote"][self.name]["url"]
        self.url = redact(url)
        self.secrets = _secrets(repo.config.read("repo"))
        """What the part of the settings that is in git should not hold."""
        self.in_git = self.name in repo.config.read("repo").get("remote", {})
        self.hidden = [unquote(urlsplit(url).password or "") if "://" in url else ""]
        self.hidden += [str(value) for key, value in repo.config["remote"][self.name].items() if SECRET.search(key)]
        """Values that no message may hold."""

    def _failed(self, error: Exception) -> UserError:
        reason = redact(" ".join(str(error).split()) or type(error).__name__, self.hidden)
        return UserError(
            f"remote '{self.name}' ({self.url}) does not answer as it should: {reason[:300]}; check the address, the network "
            "and the permissions (`dvc remote list`), then run the same command again"
        )

    def find_folder(self, to_fill: bool = False) -> None:
        """``UserError`` when this remote is a folder that does not exist, such as one on a disk that is not there. One ``to_fill``
        is made, but what it lies in must exist."""
        protocol, place = self.fs.protocol, self.folder
        if protocol not in ("local", "ssh") or (protocol == "ssh" and to_fill):
            return
        try:
            place = self.fs.parent(place) if to_fill else place
            found = self.fs.exists(place)
        except Exception as error:
            raise self._failed(error) from error
        if not found:
            raise UserError(
                f"remote '{self.name}' ({self.url}): {place} does not exist; mount its disk, make that folder, or say where the remote "
                f"is: `dvc remote modify {self.name} url ADDRESS`"
            )

    def size(self, oid: str) -> int | None:
        """Bytes of an object as the remote holds it, None when it does not."""
        try:
            return self.fs.info(self.path_of(oid))["size"]
        except FileNotFoundError:
            return None
        except Exception as error:  # each file system has errors of its own
            raise self._failed(error) from error

    def sizes(self, oids: Iterable[str]) -> dict[str, int | None]:
        """The same for many."""
        oids = list(dict.fromkeys(oids))
        found = {oid: self.size(oid) for oid in oids[:1]}  # alone: it connects, or fails, once and not eight times
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            return found | dict(zip(oids[1:], pool.map(self.size, oids[1:]), strict=True))

    def md5(self, oid: str) -> str:
        """md5 of an object's bytes, read back from the remote."""
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with self.fs.open(self.path_of(oid), "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except Exception as error:
            raise self._failed(error) from error
        return digest.hexdigest()

    def put(self, path: Path, oid: str) -> None:
        """Send a file."""
        try:
            to = self.path_of(oid)
            self.fs.makedirs(self.fs.parent(to), exist_ok=True)
            self.fs.put_file(str(path), to)
        except FileNotFoundError as error:
            if not path.exists():
                raise UserError(f"{path}: disappeared while it was sent; run the same command again") from error
            raise self._failed(error) from error
        except Exception as error:
            raise self._failed(error) from error

    def get(self, oid: str, path: Path) -> bool:
        """Bring an object here, from DVC's cache on this machine or from the remote; False when neither holds it."""
        cached = self.cache / oid[:2] / oid[2:]
        try:
            if cached.exists() and both_digests(cached)[1] == oid.removesuffix(".dir"):
                shutil.copyfile(cached, path)
                return True
            if self.size(oid) is None:
                return False
            self.fs.get_file(self.path_of(oid), str(path))
        except UserError:
            raise
        except OSError as error:
            if error.filename == str(path) or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise UserError(unwritable(path.parent, error)) from error
            raise self._failed(error) from error
        except Exception as error:
            raise self._failed(error) from error
        return True


def _secrets(settings: dict[str, Any]) -> list[str]:
    """The passwords and keys in a file of DVC's settings, in words."""
    found = []
    for section, names in settings.items():
        for name, options in names.items():
            owner = f"{section} '{name}'" if isinstance(options, dict) else section
            for key, value in (options if isinstance(options, dict) else {name: options}).items():
                if SECRET.search(key):
                    found.append(f"{key} of {owner}")
                elif isinstance(value, str) and redact(value) != value:
                    found.append(f"the password in the {key} of {owner}")
    return found


# --- restore --------------------------------------------------------------------------------------------------------


@dataclass
class Restored:
    """What ``restore`` did."""

    fetched: list[str] = field(default_factory=list)
    in_place: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    bytes: int = 0


def restore(root: Path, runs: list[str], remote_name: str | None = None, progress: Progress | None = None) -> Restored:
    """Bring the checkpoints of finished runs here. Every one is compared with the sha256 of its receipt before it takes its
    place; a damaged one that lies there is replaced, a whole one is left alone.

    Problems of single runs are collected; ``UserError`` when the remote does not answer at all.
    """
    done = Restored()
    waiting: list[tuple[str, dict[str, Any], Pointer]] = []
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
    if not all((remote.cache / oid[:2] / oid[2:]).exists() for oid in oids):
        remote.find_folder()  # alone: it connects, or fails, once and not eight times
        remote.size(oids[0])

    def fetch(item: tuple[str, dict[str, Any], Pointer]) -> None:
        run = item[0]
        folder = root / run_folder(run)
        temporary = folder / f".checkpoint.pt.{os.getpid()}.tmp"
        with exclusive(folder / ".lock", f"{run}: another process trains or restores it; waiting for it"):
            receipt = _absent(run, root)  # once more: who held the lock may have trained or restored it
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

    for number, (item, error) in enumerate(_side_by_side(fetch, waiting), start=1):
        if error:
            done.problems[item[0]] = str(error)
        else:
            done.fetched.append(item[0])
            done.bytes += item[2].size
        if progress:
            progress(number, len(waiting), f"{done.bytes / 1e6:,.1f} MB")
    return done


def _absent(run: str, root: Path) -> dict[str, Any] | None:
    """The receipt of a run whose checkpoint is to be restored; None when it is in place. ``UserError`` when it never can."""
    receipt = read_record(root / run_folder(run) / "run.json", root)
    path = root / run_folder(run) / "checkpoint.pt"
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
        raise UserError(
            f"{run}: its checkpoint is {what} and was never published; `sslpairs train {run}` makes it anew"
        )
    return receipt


def restore_dataset(name: str, root: Path, remote_name: str | None = None) -> dict | None:
    """Bring a published data set here, whole or not at all; its receipt, or None when DVC does not know it.

    ``UserError`` when the remote does not answer, or what it holds is not what ``data.dvc`` records.
    """
    listing = tracked(root)
    if listing is None:
        return None
    remote, wanted = Remote(root, remote_name), recorded(root)[name]
    where = f"remote '{remote.name}' ({remote.url})"
    mend = "run `sslpairs publish --deep` where the data are"

    def fill(folder: Path) -> dict:
        entries = _listing(listing, remote, folder / ".listing")
        (folder / ".listing").unlink(missing_ok=True)
        if entries is None:
            remote.find_folder()
            raise UserError(f"{where} does not hold DVC's listing of data/ ({listing}), or holds it damaged; {mend}")
        for entry in entries:
            owner, _, file = entry["relpath"].partition("/")
            if owner != name or "/" in file or file in ("", ".", ".."):
                continue
            if not remote.get(entry["md5"], folder / file):
                raise UserError(f"{where} does not hold data/{name}/{file}; {mend}")
            if both_digests(folder / file)[1] != entry["md5"]:
                raise UserError(f"{where} holds data/{name}/{file} damaged; {mend}")
        receipt = verify(name, root, folder)
        if receipt["content"] != wanted:
            raise UserError(
                f"{where}: data/{name} is not the one that data.dvc records; `git checkout data.dvc`, or {mend}"
            )
        return receipt

    return place(name, root, fill)


def _listing(oid: str, remote: Remote, path: Path) -> list[dict[str, str]] | None:
    """DVC's list of the files below ``data/``, from its cache or the remote, which is left at ``path``; None where neither holds
    it whole."""
    if remote.get(oid, path) and both_digests(path)[1] == oid.removesuffix(".dir"):
        return json.loads(path.read_bytes())
    return None


def _side_by_side(work: Callable[[Any], None], items: list) -> Iterator[tuple[Any, UserError | None]]:
    """Do ``work`` for all, some at once; yields each item with the error that it met."""

    def one(item: Any) -> tuple[Any, UserError | None]:
        try:
            work(item)
        except UserError as error:
            return item, error
        return item, None

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield from pool.map(one, items)


# --- publish --------------------------------------------------------------------------------------------------------


@dataclass
class Published:
    """What ``publish`` did."""

    sent: int = 0
    """Objects that the remote did not hold."""
    bytes: int = 0
    held: int = 0
    """Objects that it held already."""
    runs: list[str] = field(default_factory=list)
    """Runs whose checkpoint the remote now holds."""
    unfinished: int = 0
    """Runs without a receipt: left out."""
    problems: list[str] = field(default_factory=list)
    staged: int = 0
    """Files that git did not know, or knew otherwise."""
    uncommitted: list[str] = field(default_factory=list)
    """Files of the configuration, code and rules that a clone of the next commit would not have."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Object:
    oid: str
    size: int
    path: Path | None
    """Where its bytes lie on this machine."""
    run: str | None
    """The run whose checkpoint it is; None for data."""


def publish(
    build: Build, runs: list[str], remote_name: str | None = None, deep: bool = False, progress: Progress | None = None
) -> Published:
    """Send the checkpoints of finished runs (and the data) to a remote, have it say that it holds each one, write pointers,
    and stage pointers, receipts, metrics and evaluations for git. May be repeated at any time, and after any interruption.

    ``deep`` reads everything back from the remote and sends again what differs. Problems of single runs are collected;
    ``UserError`` when the remote does not answer at all, or git does not take the files.
    """
    root, done = build.root, Published()
    remote = Remote(root, remote_name)
    with exclusive(
        root / ".dvc/tmp/sslpairs-publish.lock", "another `sslpairs publish` is at work here; waiting for it"
    ):
        chosen = set(runs)
        evaluations = {str(evaluation_file(name)) for name, e in build.plan.evaluations.items() if e["run"] in chosen}
        remote.find_folder(to_fill=True)
        _ = build.evaluated  # looks at all records
        damaged = {
            name: line for name, line in build.damage.items() if name in evaluations or Path(name).parent.name in chosen
        }
        done.problems += damaged.values()
        done.unfinished = sum(run not in build.receipts and build.receipt_file(run) not in damaged for run in runs)
        runs = [run for run in runs if run in build.receipts]
        data = _data(root, remote, done)
        objects = _checkpoints(build, runs, done) + (data or [])
        sizes = remote.sizes(one.oid for one in objects)

        def send(one: _Object) -> None:
            whole = sizes[one.oid] == one.size
            if whole and not (deep and remote.md5(one.oid) != one.oid.removesuffix(".dir")):
                return
            remote.put(_source(one, remote, whole), one.oid)
            if remote.size(one.oid) != one.size or (deep and remote.md5(one.oid) != one.oid.removesuffix(".dir")):
                raise UserError(
                    f"{one.run or 'data/'}: remote '{remote.name}' ({remote.url}) did not keep what was sent; is it full?"
                )
            sent.append(one)

        sent: list[_Object] = []
        failed, whole_data = 0, data is not None
        for number, (one, error) in enumerate(_side_by_side(send, objects), start=1):
            if error:
                failed += 1
                whole_data &= one.run is not None
                done.problems.append(str(error))
            elif one.run:
                done.runs.append(one.run)
                _point(one, root)
            if progress:
                progress(number, len(objects), f"{sum(one.size for one in sent) / 1e6:,.1f} MB sent")
        done.sent, done.bytes = len(sent), sum(one.size for one in sent)
        done.held = len(objects) - done.sent - failed
        if not whole_data:
            done.notes.append("data.dvc is not staged, since not all of the data are in the remote")
        files = _small_files(build, runs, whole_data)
        if remote.secrets:
            done.notes.append(
                f".dvc/config is not staged: it holds {', '.join(remote.secrets)}. `dvc remote modify --local` keeps that out of git"
            )
            files.remove(".dvc/config")
        done.staged = _stage(root, files, done)
        _note_clones(build, runs, remote, done)
    return done


def _note_clones(build: Build, runs: list[str], remote: Remote, done: Published) -> None:
    """Say what a clone would lack. Problems of git with that are told by staging."""
    if not remote.in_git:
        done.notes.append(
            f"remote '{remote.name}' is not in .dvc/config, only in this machine's settings: a clone would not know it; `dvc remote "
            f"add --default {remote.name} URL` puts it there"
        )
    with contextlib.suppress(NoRepository):
        done.uncommitted = uncommitted(build.root)
        done.notes += notes(build.root, (build.receipts[run] for run in runs), done.uncommitted)


def _point(one: _Object, root: Path) -> None:
    """Write the pointer of a checkpoint that the remote holds, unless it is there."""
    pointer = Pointer(one.oid, one.size)
    with contextlib.suppress(UserError):
        if read_pointer(one.run, root) == pointer:
            return
    write_atomic(root / pointer_file(one.run), pointer.text())


def _checkpoints(build: Build, runs: list[str], done: Published) -> list[_Object]:
    """The checkpoints that receipts name: here, or published before. Their bytes are looked at when they are sent."""
    objects = []
    for run in runs:
        path, pointer = build.root / build.checkpoint(run), pointer_of(build.receipts[run])
        if path.exists() and path.stat().st_size != pointer.size:
            done.notes.append(
                f"{build.checkpoint(run)}: damaged here; `sslpairs restore {run}` or `sslpairs train {run}` mends it"
            )
        if path.exists() or build.is_published(run):
            objects.append(_Object(pointer.md5, pointer.size, path if path.exists() else None, run))
        else:
            done.notes.append(f"{run}: its checkpoint is gone and was not published; its numbers are staged without it")
    return objects


def _source(one: _Object, remote: Remote, differs: bool) -> Path:
    """A file on this machine with the object's very bytes; ``UserError`` when there is none."""
    cached = remote.cache / one.oid[:2] / one.oid[2:]
    for path in (one.path, cached):
        if path and path.exists() and both_digests(path)[1] == one.oid.removesuffix(".dir"):
            return path
    what = one.run or f"data/ ({one.oid})"
    if one.run and one.path and one.path.exists():
        raise UserError(
            f"{what}: {one.path.name} is damaged, or not the one that run.json names; not published. `sslpairs restore {one.run}` or "
            f"`sslpairs train {one.run}` mends it"
        )
    raise UserError(
        f"{what}: remote '{remote.name}' ({remote.url}) "
        + ("holds it damaged, " if differs else "does not hold it any more, ")
        + "and this machine does not have it; publish it from where it is, or "
        + (f"train it again: `sslpairs train {one.run}`" if one.run else "fetch it again: `sslpairs fetch --force`")
    )


def _data(root: Path, remote: Remote, done: Published) -> list[_Object] | None:
    """The files below data/ and DVC's listing of them; None where that cannot be published whole. Data that are here must be
    those of the listing; where that is lost, those of their receipts."""
    listing = tracked(root)
    if listing is None:
        names = untracked(root)
        done.notes.append(
            f"data/: left out, since DVC does not track {', '.join(names) or 'it'}; `sslpairs fetch {' '.join(names)}` tracks it, or "
            "says what is in the way"
        )
        return []
    kept = root / ".dvc" / "tmp" / "sslpairs-listing"
    for attempt in range(2):
        entries = _listing(listing, remote, kept)
        if entries is not None:
            break
        if problem := next(filter(None, (_damage(name, root) for name in recorded(root))), None):
            done.problems.append(problem)
            return None
        if attempt or (problem := track_anew(root)):
            done.problems.append(
                f"data/: DVC has lost its listing ({listing}): {problem if not attempt else 'it changed'}"
            )
            return None
        listing = tracked(root) or listing
    objects = [_Object(listing, kept.stat().st_size, kept, None)]
    for entry in entries:
        path, owner = root / "data" / entry["relpath"], entry["relpath"].partition("/")[0]
        if path.parent.is_dir() and not (path.exists() and both_digests(path)[1] == entry["md5"]):
            again = (
                f"data/{owner}: not the images that data.dvc records; `sslpairs fetch {owner} --force` prepares those"
            )
            done.problems.append(_damage(owner, root) or again)
            return None
        cached = remote.cache / entry["md5"][:2] / entry["md5"][2:]
        whole = not path.exists() and cached.exists() and both_digests(cached)[1] == entry["md5"]
        source = path if path.exists() else cached if whole else None
        size = source.stat().st_size if source else remote.size(entry["md5"])
        if size is None:
            done.problems.append(
                f"data/{entry['relpath']}: neither here nor in the remote; get it: sslpairs fetch {owner}"
            )
            return None
        objects.append(_Object(entry["md5"], size, source, None))
    return objects


def _damage(name: str, root: Path) -> str | None:
    """What is wrong with a data set that is here, by its receipt and ``data.dvc``."""
    try:
        if (root / "data" / name).is_dir() and verify(name, root)["content"] != recorded(root)[name]:
            return f"data/{name}: not the images that data.dvc records; `sslpairs fetch {name}` prepares those"
    except UserError as error:
        return str(error)
    return None


# --- git ------------------------------------------------------------------------------------------------------------


def _small_files(build: Build, runs: list[str], whole_data: bool) -> list[str]:
    """Receipts, metrics, pointers and evaluations of runs, the record of the data, and where the remote is; whole ones only."""
    files = [".dvc/config", *(["data.dvc"] if whole_data else [])]
    chosen = set(runs)
    for run in runs:
        folder = run_folder(run)
        files += [str(folder / name) for name in ("run.json", "metrics.csv", "checkpoint.pt.dvc")]
    files += [f"results/evals/{name}.json" for name in build.evaluated if build.plan.evaluations[name]["run"] in chosen]
    return [file for file in files if (build.root / file).exists() and file not in build.damage]


def _stage(root: Path, files: list[str], done: Published) -> int:
    """``git add`` in a copy of the index that then takes its place, under git's own lock: a publish that is killed leaves
    the index as it was or as it should be, and a lock that the next one knows as its own."""
    try:
        index = Path(ask(root, "rev-parse", "--path-format=absolute", "--git-path", "index").strip())
    except NoRepository as error:
        done.notes.append(f"{error}: nothing is staged; to share results by git, clone the repository or `git init`")
        return 0
    copy = index.with_name("index.sslpairs")
    with _git_locked(index.with_name("index.lock"), copy.with_suffix(".mark")):
        for leftover in (copy, copy.with_name(f"{copy.name}.lock")):
            leftover.unlink(missing_ok=True)
        if index.exists():
            shutil.copyfile(index, copy)
        environment = {"GIT_INDEX_FILE": str(copy)}
        before = ask(root, "ls-files", "--stage", environment=environment)
        words = ("add", "--pathspec-from-file=-", "--pathspec-file-nul")
        ask(root, *words, input="\0".join(files), environment=environment)
        after = ask(root, "ls-files", "--stage", environment=environment)
        os.replace(copy, index)
    return len(set(after.splitlines()) - set(before.splitlines()))


@contextlib.contextmanager
def _git_locked(lock: Path, mark: Path, patience: float = 20.0) -> Iterator[None]:
    """Hold git's index.lock. One that a killed publish left is taken over: no other runs, since this one holds its lock."""
    mark.write_text(MARK)
    until = time.monotonic() + patience
    while True:
        try:
            os.link(mark, lock)
            break
        except FileExistsError:
            with contextlib.suppress(OSError):
                if lock.read_text() == MARK:
                    lock.unlink()
                    continue
            if time.monotonic() > until:
                mark.unlink(missing_ok=True)
                raise UserError(
                    f"{lock}: git is at work here, or was killed; if no git runs, remove that file, then run the same command again"
                ) from None
            time.sleep(0.2)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        mark.unlink(missing_ok=True)
