"""Which code runs: one virtual environment may serve several clones."""

from pathlib import Path

from sslpairs.errors import UserError

RUNNING = Path(__file__).parent


def check_own_code(root: Path) -> None:
    """``UserError`` if the folder has its own code in ``src/`` but different code runs, because the virtual environment was created
    for another clone. Equal code may be anywhere."""
    own = root / "src" / "sslpairs"
    if not own.is_dir() or own.samefile(RUNNING) or _content(own) == _content(RUNNING):
        return
    raise UserError(
        f"{root}: has its own code in src/, but the different code in {RUNNING} would run: the virtual environment belongs to another "
        f"clone. Use `make`, or `export PYTHONPATH={root / 'src'}`, or an environment of its own (`make setup`, `. .venv/bin/activate`)"
    )


def _content(package: Path) -> dict[Path, bytes]:
    return {path.relative_to(package): path.read_bytes() for path in package.rglob("*.py")}
