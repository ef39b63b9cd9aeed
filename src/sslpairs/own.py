"""Whose code runs: one virtual environment may serve several clones."""

from pathlib import Path

from sslpairs.errors import UserError

RUNNING = Path(__file__).parent


def check_own_code(root: Path) -> None:
    """``UserError`` when the folder has code of its own in ``src/`` and other code runs, since the virtual environment was made for
    another clone. Equal code may lie anywhere."""
    own = root / "src" / "sslpairs"
    if not own.is_dir() or own.samefile(RUNNING) or _content(own) == _content(RUNNING):
        return
    raise UserError(
        f"{root}: has code of its own in src/, but {RUNNING} would run, which differs: the virtual environment is another clone's. Use "
        f"`make`, or `export PYTHONPATH={root / 'src'}`, or an environment of its own (`make setup`, `. .venv/bin/activate`)"
    )


def _content(package: Path) -> dict[Path, bytes]:
    return {path.relative_to(package): path.read_bytes() for path in package.rglob("*.py")}
