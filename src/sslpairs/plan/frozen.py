"""Frozen plans: a plan in a file that all jobs of a build read."""

import gc
import json
from pathlib import Path

from sslpairs.errors import UserError
from sslpairs.files import canonical, sha256_text, write_atomic
from sslpairs.plan.paths import PLANS
from sslpairs.plan.plan import Plan


def freeze(plan: Plan, root: Path) -> Path:
    """Write the plan to a file named after its content, and return the path relative to the root.

    All jobs of a build read this file, so editing ``config/`` does not affect a running build.
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
    """Read a frozen plan. Raise ``UserError`` if there is none or it was modified."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: {getattr(error, 'strerror', 'not text')}; give the path of a frozen plan, or omit it"
        ) from None
    if sha256_text(text)[:12] != path.stem:
        raise UserError(f"{path}: its content does not match its name, so it was modified; delete it and start again")
    gc.disable()  # there is no garbage in it, and scanning millions of values takes longer than reading them
    try:
        return Plan(**json.loads(text))
    finally:
        gc.enable()
