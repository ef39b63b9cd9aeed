"""One virtual environment for two clones: no clone runs the other's code unnoticed."""

import shutil
from pathlib import Path

import pytest
from projects import ROOT, copy_parts

from sslpairs import cli
from sslpairs.errors import UserError
from sslpairs.own import check_own_code
from sslpairs.workflow.builds import make_build

CODE = "src/sslpairs/words.py"


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A clone whose code is that which runs, but for one line."""
    copy_parts(("config", "src", ".dvc"), tmp_path)
    with (tmp_path / CODE).open("a") as file:
        file.write("# another line\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_another_clones_code_is_refused_by_every_command_and_by_a_build(clone, capsys):
    for words in (["plan"], ["restore", "some-run"], ["doctor"]):
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        said = "".join(capsys.readouterr())
        assert end.value.code == 2
        assert f"{clone}: has its own code in src/, but the different code in {ROOT / 'src/sslpairs'} would run" in said
        assert f"export PYTHONPATH={clone / 'src'}" in said
    with pytest.raises(UserError, match="has its own code"):
        make_build(clone)


def test_equal_code_may_lie_anywhere_and_a_project_may_have_none(clone):
    shutil.copy(ROOT / CODE, clone / CODE)
    check_own_code(clone)
    check_own_code(ROOT)
    shutil.rmtree(clone / "src")
    check_own_code(clone)
    (clone / "src").symlink_to(ROOT / "src")
    check_own_code(clone)
