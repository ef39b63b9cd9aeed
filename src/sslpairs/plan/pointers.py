"""DVC pointers of published checkpoints."""

import re
from dataclasses import dataclass
from pathlib import Path

from sslpairs.errors import Unreadable, UserError
from sslpairs.files import unwritable
from sslpairs.plan.paths import pointer_file, run_folder
from sslpairs.plan.records import Receipt

_POINTED = re.compile(
    r"^[- ] (md5(?=: [0-9a-f]{32}$)|size(?=: [0-9]+$)|path(?=: checkpoint\.pt$)): (\S+)$", re.MULTILINE | re.ASCII
)


@dataclass(frozen=True)
class Pointer:
    """DVC's record of a file."""

    md5: str
    size: int

    def text(self) -> str:
        """Return the file that ``dvc add`` writes for a checkpoint, byte for byte."""
        return f"outs:\n- md5: {self.md5}\n  size: {self.size}\n  hash: md5\n  path: checkpoint.pt\n"


def pointer_of(receipt: Receipt) -> Pointer:
    """Return the pointer for a receipt. Its MD5 becomes part of paths: raise ``UserError`` if it is invalid."""
    facts = receipt["checkpoint"]
    if not re.fullmatch("[0-9a-f]{32}", str(facts.get("md5"))):
        raise UserError(
            f"{run_folder(receipt['run']) / 'run.json'}: '{facts.get('md5')}' is not an md5; train the run again"
        )
    return Pointer(facts["md5"], facts["bytes"])


def read_pointer(run: str, root: Path) -> Pointer | None:
    """Read the pointer of a run's checkpoint. Return None if there is none; raise ``UserError`` if it is damaged."""
    name = pointer_file(run)
    try:
        text = (root / name).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unreadable(unwritable(name, error, "read")) from None
    except UnicodeDecodeError:
        text = ""
    facts = dict(_POINTED.findall(text))  # not parsed as YAML, which is slow for thousands of files
    if facts.keys() != {"md5", "size", "path"}:
        raise UserError(f"{name}: damaged; `sslpairs publish` rewrites it, or restore it with `git checkout {name}`")
    return Pointer(facts["md5"], int(facts["size"]))
