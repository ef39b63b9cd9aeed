"""Data sets in many files (shards): found in a folder, put in order, and sorted into splits by their names."""

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from sslpairs.data.names import shown
from sslpairs.data.progress import say
from sslpairs.errors import UserError

Splits = dict[str, list[Path]]
"""'train', 'val' and 'test', as far as they exist -> files in order."""
SPLITS = {"train": "train training", "val": "val valid validation dev", "test": "test testing eval evaluation"}
"""The Hub's words for the splits (huggingface.co/docs/hub/datasets-file-names-and-splits)."""
WORDS = {word: split for split, words in SPLITS.items() for word in words.split()}
DEPTH = 5
"""Levels of folders that are searched: the cache of Hugging Face's ``datasets`` has the most."""
MOST = 20_000
"""Folders that are searched, so that a wrong path, such as ~, is not searched completely; and files that a pattern may name."""


def find(where: str, path: Path, suffixes: Sequence[str]) -> Splits:
    """The files of a data set, with one of these suffixes (the first of which there are any): of the nearest level of a folder that has
    some, of a snapshot in a folder of the Hub's cache, those that a pattern with braces names, or a single file.

    A split is named by a word of the file's name, or else of the folders around it; if no name has one, all files are training data.
    UserError if there is no training data, if files of a numbered series are missing, and for several data sets in one folder.
    """
    folder, files = _files(where, path, suffixes)
    groups: dict[tuple[str, ...], dict[str | None, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(files, key=lambda file: _natural(file.relative_to(folder).as_posix())):
        *around, name = file.relative_to(folder).parts
        split = _split(name) or next(filter(None, map(_split, reversed(around))), None)
        groups[tuple(part for part in around if not _split(part))][split].append(file)
    if len(groups) > 1:
        names = sorted("/".join(group) or "." for group in groups)
        raise UserError(f"{where}: several data sets are in it ({_few(names)}); give the path of one of them")
    (splits,) = groups.values()
    if others := splits.pop(None, []):
        if not splits:
            splits["train"] = others
        else:
            say(f"{where}: not used, since no split is in their names: {_few([file.name for file in others])}")
    if "train" not in splits:
        found = _few([file.name for files in splits.values() for file in files])
        raise UserError(f"{where}: no file of it has 'train' in its name (found: {found}); correct 'path'")
    if path.is_dir():
        for found in splits.values():
            _check_series(where, found)
    return {split: splits[split] for split in SPLITS if split in splits}


def braces(pattern: str) -> list[str]:
    """Names that a pattern stands for, at most ``MOST``: ``{000..123}`` counts, with leading zeros, and ``{a,b}`` are alternatives, which
    may have braces too."""
    start, depth, words = pattern.find("{"), 0, []
    begin = start + 1
    for at in range(start, len(pattern) if start >= 0 else start):
        depth += {"{": 1, "}": -1}.get(pattern[at], 0)
        if depth == 0 or (depth == 1 and pattern[at] == ","):
            words.append(pattern[begin:at])
            begin = at + 1
        if depth == 0:
            break
    else:
        return [pattern]
    if len(words) == 1 and (counted := re.fullmatch(r"(\d+)\.\.(\d+)", words[0])):
        low, high = map(int, counted.groups())
        words = [f"{number:0{len(counted[1])}}" for number in range(low, min(high + 1, low + MOST))]
    else:
        words = [name for word in words for name in braces(word)]
    pairs = itertools.product(words, braces(pattern[begin:]))
    return [pattern[:start] + word + rest for word, rest in itertools.islice(pairs, MOST)]


def label(file: Path) -> str:
    """The file in messages, with its folder."""
    return shown("/".join(file.parts[-2:]))


def _files(where: str, path: Path, suffixes: Sequence[str]) -> tuple[Path, list[Path]]:
    """The files, and the folder in which their names count."""
    try:
        if path.is_file():
            if not path.name.lower().endswith(tuple(suffixes)):
                raise UserError(f"{where} is not a {suffixes[0]} file; give the path of one, or of a folder of them")
            return path.parent, [path]
        if path.is_dir():
            return _in_folder(where, _snapshot(where, path), suffixes)
        if path.exists():
            raise UserError(f"{where} is a pipe, a socket or a device; give a folder or a file as 'path'")
        if "{" in str(path):
            return _named(where, [Path(name) for name in braces(str(path))])
    except OSError as error:
        raise UserError(f"{where} cannot be read ({shown(str(error))}); check the disk and the permissions") from error
    raise UserError(
        f"{where}: there is no such file or folder; put the data there, or correct 'path' in config/datasets.yaml"
    )


def _named(where: str, files: list[Path]) -> tuple[Path, list[Path]]:
    if len(files) >= MOST:
        raise UserError(f"{where} stands for too many files; correct 'path' in config/datasets.yaml")
    if absent := [file for file in files if not file.is_file()]:
        raise UserError(f"{where}: {label(absent[0])} is missing ({len(absent)} of {len(files)} files are); get it")
    return Path(os.path.commonpath([file.parent for file in files])), files


def _in_folder(where: str, folder: Path, suffixes: Sequence[str]) -> tuple[Path, list[Path]]:
    level, seen = [folder], 0
    for _ in range(DEPTH):
        entries = [entry for inner in level for entry in os.scandir(inner) if not entry.name.startswith(".")]
        for suffix in suffixes:
            if found := [entry for entry in entries if _is_shard(entry, suffix)]:
                return folder, [_existing(where, entry) for entry in found]
        level = [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.endswith(".incomplete")]
        if (seen := seen + len(level)) > MOST:
            break
    inside = _few(sorted(os.listdir(folder))) or "nothing"
    raise UserError(f"{where}: there are no {' or '.join(suffixes)} files in it (found: {inside}); correct 'path'")


def _snapshot(where: str, path: Path) -> Path:
    """A revision in a folder of the Hub's cache, ``datasets--<org>--<name>/``: the only one, or that of 'main'; else the folder itself."""
    if caches := sorted(path.glob("datasets--*/snapshots")):
        raise UserError(
            f"{where}: this is the Hub's cache of {_few([c.parent.name for c in caches])}; give the path of one of them"
        )
    revisions = sorted(folder for folder in path.glob("snapshots/*") if folder.is_dir())
    if not revisions:
        return path
    main = path / "refs/main"
    named = main.read_text().strip() if main.is_file() else ""
    chosen = revisions if len(revisions) == 1 else [folder for folder in revisions if folder.name == named]
    if not chosen:
        raise UserError(
            f"{where}: it has {len(revisions)} snapshots, and refs/main names none of them; give the path of one: "
            f"snapshots/{revisions[0].name}"
        )
    return chosen[0]


def _is_shard(entry: os.DirEntry, suffix: str) -> bool:
    # cache-<hash>.arrow: what ``datasets`` keeps of intermediate steps.
    return entry.name.lower().endswith(suffix) and not entry.name.startswith("cache-") and not entry.is_dir()


def _existing(where: str, entry: os.DirEntry) -> Path:
    if not entry.is_file():
        to = f" is a link to {shown(os.readlink(entry.path))}, which does not exist" if entry.is_symlink() else ""
        raise UserError(f"{where}: {label(Path(entry.path))}{to or ' is not a file'}; get it again")
    return Path(entry.path)


def _split(name: str) -> str | None:
    """The split that a name has as a word; the last one if there are several, since data sets may have such names too."""
    words = [WORDS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in WORDS]
    return words[-1] if words else None


def _natural(name: str) -> tuple[list[str | int], str]:
    """Numbers in a name count as numbers: 9 before 10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], name


def _check_series(where: str, files: Sequence[Path]) -> None:
    """UserError if files are missing, or there twice, in ``name-00000-of-00003`` or ``name-0000``."""
    for name, total, numbers in _series(files):
        first = 0 if total is not None else min(numbers)
        last = total - 1 if total is not None else max(numbers)
        if twice := next((found for found in numbers.values() if len(found) > 1), None):
            both = " and ".join(map(label, twice[:2]))
            raise UserError(f"{where}: {both} have the same number; remove the one that does not belong to the data")
        missing = next((number for number in range(first, last + 1) if number not in numbers), None)
        if missing is not None:
            raise UserError(
                f"{where}: {name} number {missing} is missing ({len(numbers)} of {last - first + 1} files are there); get it, "
                "or name the files to use in 'path', with braces: {0000..0003}"
            )


def _series(files: Sequence[Path]) -> Iterator[tuple[str, int | None, dict[int, list[Path]]]]:
    """Name, total number if the names state it, and files by number. Numbers that do not begin at 0 or 1 may be anything: years, sizes."""
    series: dict[tuple[Path, str], dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    totals: dict[tuple[Path, str], int] = {}
    for file in files:
        stem = re.sub(r"\.(tgz|(tar|parquet|arrow)(\.\w+)?)$", "", file.name.lower())
        if stated := re.match(r"(.*?)-?(\d{5,})-of-(\d{5,})", stem):
            key = file.parent, stated[1]
            totals[key] = max(totals.get(key, 0), int(stated[3]))
            series[key][int(stated[2])].append(file)
        elif numbered := re.fullmatch(r"(.*?)[-_]?(\d{1,9})", stem):
            series[file.parent, numbered[1]][int(numbered[2])].append(file)
    for key, numbers in series.items():
        if key in totals or min(numbers) in (0, 1):
            yield key[1] or key[0].name, totals.get(key), dict(numbers)


def _few(words: Sequence[str]) -> str:
    return ", ".join(map(shown, words[:5])) + (", ..." if len(words) > 5 else "")
