"""A plan in a file, which all jobs of a build read."""

import gc
import json
from pathlib import Path

from sslpairs.errors import UserError
from sslpairs.files import canonical, sha256_text, write_atomic
from sslpairs.plan.paths import PLANS
from sslpairs.plan.plan import Plan


def freeze(plan: Plan, root: Path) -> Path:
    """Write the plan under a name made from its content, and answer the path relative to the root.

    All jobs of a build read this file, so that editing ``config/`` meanwhile changes nothing in that build.
    """
    text = canonical(vars(plan))
    path = PLANS / f"{sha256_text(text)[:12]}.json"
    try:
        whole = (root / path).read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        whole = False
    if not whole:
        write_atomic(root / path, text)
    return path


def thaw(path: Path) -> Plan:
    """Read a frozen plan; ``UserError`` if there is none or it was altered."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: {getattr(error, 'strerror', 'not text')}; give the path of a frozen plan, or leave it out"
        ) from None
    if sha256_text(text)[:12] != path.stem:
        raise UserError(f"{path}: its content does not fit its name, so it was altered; delete it and start again")
    gc.disable()  # nothing in it is garbage, and looking for it among millions of values takes longer than reading them
    try:
        return Plan(**json.loads(text))
    finally:
        gc.enable()
