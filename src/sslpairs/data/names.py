"""Names of classes and files: how they are compared, and how they are shown in a terminal and a log."""

import unicodedata


def same_spelling(name: str) -> str:
    """The name with normalised accents (NFC): macOS stores letters and accents separately, which readers cannot see."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def shown(name: str) -> str:
    """The name on one line of printable characters; others are escaped: ``K\\xe4tzchen``, ``a\\nb``."""
    return name if name.isprintable() else "".join(map(_character, name))


def _character(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # Python's placeholder for a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return ascii(character)[1:-1]


def unusable_as_class(name: str) -> str | None:
    """Why a class cannot have this name: receipts, tables and logs could not hold it. None if it can."""
    if not name:
        return "is empty"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "is not UTF-8"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name):
        return "has a control character or a line break"
    return None
