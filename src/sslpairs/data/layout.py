"""How a folder or archive of images is laid out: ``train/<class>/*``, ``test/<class>/*`` or ``val/<class>/*``, ``unlabeled/*``."""

from collections.abc import Collection, Iterable, Sequence

from sslpairs.data.archives import IMAGE_SUFFIXES, SPLIT_FOLDERS, Member, is_image
from sslpairs.data.names import same_spelling, shown, unusable_as_class
from sslpairs.errors import UserError, nearest

Listing = dict[str, dict[str, list[str]]]
"""Split -> class (accents normalised) -> sorted names of its images (spelt as stored)."""
NO_CLASS = ""
"""The class of images in ``unlabeled/``."""


def listing(where: str, members: Iterable[Member]) -> Listing:
    """Sort the entries into splits and classes; every departure from the layout is a UserError that names it.

    All splits that are there, ``train`` first, each with the classes of ``train`` that it has.
    """
    kinds = {member.name: member.kind for member in members}
    prefix = _prefix(where, kinds)
    splits: Listing = {}
    folders: dict[tuple[str, str], str] = {}
    for name, kind in kinds.items():
        if not name.startswith(prefix):
            continue
        split, *inner = name[len(prefix) :].split("/")
        if split not in SPLIT_FOLDERS or (not inner and kind == "file"):
            continue
        if len(inner) <= 2 and kind not in ("file", "folder"):
            what = "the image itself" if len(inner) == 2 else "the folder itself"
            raise UserError(f"{where}: {shown(name)} is {kind}; put {what} there, or remove it")
        classes = splits.setdefault(split, {})
        if not inner:
            continue
        if split == "unlabeled":
            if kind == "file" and is_image(name):
                classes.setdefault(NO_CLASS, []).append(name)
            continue
        if len(inner) == 1 and is_image(name) and kind == "file":
            raise UserError(f"{where}: {shown(name)} is in no class; put it into {split}/<class>/")
        if len(inner) == 1 and kind == "file":
            continue  # notes
        if len(inner) > 2 or (len(inner) == 2 and kind == "folder"):
            raise UserError(f"{where}: {shown(name)} is nested too deeply; images belong directly in {split}/<class>/")
        if len(inner) == 2 and not is_image(name):
            raise UserError(
                f"{where}: {shown(name)} is not an image ({', '.join(sorted(IMAGE_SUFFIXES))}); remove it from the class"
            )
        c = _class(where, f"{prefix}{split}/", inner[0], folders)
        classes.setdefault(c, []).extend([name] * (len(inner) == 2))
    return _checked(where, prefix, splits)


def _class(where: str, split: str, folder: str, folders: dict[tuple[str, str], str]) -> str:
    """The class of a folder in ``split``; ``folders`` maps each class to its folder."""
    c = same_spelling(folder)
    if (known := folders.setdefault((split, c), folder)) == folder:
        return c
    raise UserError(
        f"{where}: {split} has two folders for the class '{c}', whose accents are written in two ways "
        f"({ascii(known)[1:-1]}, {ascii(folder)[1:-1]}); put their images into one"
    )


def _prefix(where: str, names: Collection[str]) -> str:
    """``""``, or ``wrapper/`` if train/ and test/ are inside one folder."""
    parts = [name.split("/") for name in names]
    if any(part[0] in SPLIT_FOLDERS for part in parts):
        return ""
    wrappers = sorted({part[0] for part in parts if len(part) > 1 and part[1] in SPLIT_FOLDERS})
    if len(wrappers) > 1:
        first, second = map(shown, wrappers[:2])
        raise UserError(f"{where}: both {first}/ and {second}/ have splits; give the path of one of them")
    if not wrappers:
        top = sorted({part[0] for part in parts})
        raise UserError(f"{where}: there is no train/ in it (found: {_few(top)}); images belong in train/<class>/")
    return f"{wrappers[0]}/"


def _checked(where: str, prefix: str, splits: Listing) -> Listing:
    """The splits: no class empty, none that only a held-out split has, all sorted by name."""
    around = shown(prefix)
    if "train" not in splits:
        raise UserError(f"{where}: there is no {around}train/ in it; training images belong in {around}train/<class>/")
    splits = {split: splits[split] for split in sorted(splits, key=lambda split: (split != "train", split))}
    train = splits["train"]
    for split, by_class in splits.items():
        for c in sorted(by_class.keys() - {NO_CLASS}):
            if reason := unusable_as_class(c):
                raise UserError(
                    f"{where}: the name of the class {around}{split}/{shown(c)} {reason}; rename that folder, and the same "
                    "class in the other split (an archive: before it is packed)"
                )
        if extra := sorted(by_class.keys() - train.keys() - {NO_CLASS}):
            hint = nearest(extra[0], sorted(train))
            spelt = "" if not hint or (extra[0] + hint).isascii() else f" ({ascii(extra[0])[1:-1]})"
            raise UserError(f"{where}: the class '{shown(extra[0])}'{spelt} is in {split}/ but not in train/{hint}")
    if not train:
        raise UserError(f"{where}: {around}train/ has no classes; images belong in {around}train/<class>/")
    for split, by_class in splits.items():
        for c in sorted(by_class):
            if not by_class[c]:
                raise UserError(f"{where}: {around}{split}/{c}/ has no images; add some, or remove the class")
    return {split: {c: sorted(by_class[c], key=_order) for c in sorted(by_class)} for split, by_class in splits.items()}


def _order(name: str) -> tuple[str, str]:
    """Images have one order, and so one content hash, regardless of how accents in their names are encoded."""
    return same_spelling(name), name


def _few(words: Sequence[str]) -> str:
    return ", ".join(map(shown, words[:5])) + (", ..." if len(words) > 5 else "") or "nothing"
