"""What git says of the project's folder, and that it is told where git says nothing."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from projects import copy_parts, git

from sslpairs import cli
from sslpairs.git import commit_words, git_state, health
from sslpairs.training.provenance import code_and_versions
from sslpairs.workflow.builds import check, make_build, no_commit


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository of one commit; git asks nobody's settings."""
    for name, value in {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": "0"}.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "--quiet")
    (root / "file").write_text("content")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=First")
    return root


@pytest.fixture
def refused(repository, monkeypatch) -> Path:
    """The same, of another user: git's own tests say so with this variable."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    return repository


def test_a_folder_that_git_refuses_is_told_from_one_without_git_with_the_remedy(refused, tmp_path, monkeypatch):
    remedy = f"git refuses {refused}, which belongs to another user; if you trust it: git config --global --add safe.directory {refused}"
    assert git_state(refused) == {"commit": None, "dirty": None, "refused": remedy}
    assert code_and_versions(refused, "")["git"]["refused"] == remedy
    assert health(refused) == (False, f"receipts would name no commit: {remedy}")
    assert commit_words(git_state(refused)) == "no commit: git refused the folder"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert git_state(elsewhere) == {"commit": None, "dirty": None}
    assert health(elsewhere) == (True, "no git repository here: receipts name no commit")
    monkeypatch.setenv("PATH", str(elsewhere))
    assert git_state(refused) == {"commit": None, "dirty": None}
    assert health(refused) == (False, "no git on this machine: receipts name no commit; install git")


def test_a_repository_without_a_commit_is_no_fault_and_a_broken_one_is(repository):
    assert len(git_state(repository)["commit"]) == 40
    (repository / "file").write_text("changed")
    assert git_state(repository)["dirty"]
    assert health(repository) == (True, "git (receipts name the commit)")
    (repository / ".git/HEAD").write_text("x")
    assert git_state(repository)["commit"] is None
    assert health(repository)[1].startswith("receipts would name no commit: git status: not a git repository")
    shutil.rmtree(repository / ".git")
    (repository / ".git").write_text("gitdir: /nowhere")
    assert "not a git repository: /nowhere; fix that" in git_state(repository)["refused"]
    (repository / ".git").unlink()
    git(repository, "init", "--quiet")
    assert git_state(repository) == {"commit": None, "dirty": False}


def test_a_state_of_the_head_node_stands_where_git_refuses_the_node(refused):
    known = {"commit": "c" * 40, "dirty": False}
    assert code_and_versions(refused, "", known)["git"] == known


def test_a_build_and_a_plan_say_once_that_receipts_will_name_no_commit(refused, monkeypatch, capsys):
    copy_parts(("config", "data.dvc", ".dvc"), refused)
    build = make_build(refused, {"papers": "gps", "tables": "gps-augmentation", "seeds": 1})
    check(build)
    note = f"note: receipts of new runs will not name a commit: git refuses {refused}, which belongs to another user"
    assert capsys.readouterr().err.count(note) == 1
    monkeypatch.chdir(refused)
    monkeypatch.setattr(cli.look.out, "width", 200)
    with pytest.raises(SystemExit):
        cli.main(["plan", "--set", "papers=gps", "--set", "tables=gps-augmentation", "--set", "seeds=1"])
    assert capsys.readouterr().out.count(note) == 1
    assert no_commit(SimpleNamespace(root=refused, to_train={})) is None, "nothing is trained"
    monkeypatch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
    assert no_commit(build) is None
