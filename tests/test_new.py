"""``sslpairs new``: what it writes is commented, complete and works; what it cannot write is told in a line or two."""

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageDraw
from projects import ROOT, build, built, edit, say

from sslpairs import cli
from sslpairs.cli import new as commands
from sslpairs.config.loading import load_yaml, read_value
from sslpairs.config.papers import Paper
from sslpairs.config.reading import files_in, read_config, read_file
from sslpairs.config.scales import Scale
from sslpairs.errors import UserError
from sslpairs.plan.planner import make_plan
from sslpairs.prune import current_runs

DIGITS = "--data digits --recipe digits"
SMALL = {"kind": "convnet", "widths": [32, 64, 128, 256]}
LARGE = {"kind": "resnet", "depth": 18, "stem": "imagenet"}


@pytest.fixture
def root(tmp_path) -> Path:
    """A project as on a fresh clone: configuration and record, no data, no results."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    shutil.copy(ROOT / "data.dvc", tmp_path)
    return tmp_path


@pytest.fixture
def coded(root, monkeypatch) -> Path:
    """The same with code of its own, which is taken for the one that runs."""
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    monkeypatch.setattr("sslpairs.own.RUNNING", root / "src/sslpairs")
    return root


@pytest.fixture
def run(root, monkeypatch, capsys) -> Callable[[str], tuple[int, str, str]]:
    """``sslpairs new`` in this process and in the project: exit code, stdout and stderr."""
    monkeypatch.chdir(root)

    def run(words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(["new", *words.split()])
        return end.value.code or 0, *capsys.readouterr()

    return run


def add_data(root: Path, name: str, **more) -> None:
    """An entry of ``config/datasets.yaml`` for a folder that is not there."""
    path = root / "config/datasets.yaml"
    source = {"kind": "image-folder", "path": "sources/none", "size": 32}
    entry = {"title": name.title(), "source": source} | more
    path.write_text(path.read_text() + f"  {name}: {yaml.safe_dump(entry, default_flow_style=True, width=1000)}")


def plan(root: Path, **choices):
    return make_plan(read_config(root, {"seeds": 1} | choices), {})


def commented(text: str, keys: list[str]) -> list[str]:
    """The lines of these keys, in any depth, without a comment directly above them."""
    lines = text.splitlines()
    found = {key: [i for i, line in enumerate(lines) if re.match(rf" *(- )?{key}:", line)] for key in keys}
    assert all(found.values()), f"without {[key for key, places in found.items() if not places]}"
    return [key for key, (first, *_) in found.items() if not lines[first - 1].lstrip().startswith("#")]


def snapshot(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


# --- scales -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "network"), [("digits", SMALL), ("cifar10", SMALL), ("stl10", LARGE), ("cifar10-224", LARGE)]
)
def test_a_scale_has_every_key_with_a_comment_and_is_planned_without_the_data(root, run, data, network):
    code, out, err = run(f"scale mine --data {data} --recipe cifar10-mini")
    assert (code, err, len(out.splitlines())) == (0, "", 2)
    assert (
        f"Next: `sslpairs fetch {data}`, then `sslpairs plan --set scale=mine`, then `make tables SCALE=mine`." in out
    )
    text = (root / "config/scales/mine.yaml").read_text()
    assert load_yaml(root / "config/scales/mine.yaml", root).keys() == Scale.model_fields.keys()
    assert commented(text, list(Scale.model_fields)) == []
    config = read_config(root, {"scale": "mine"})
    assert config.notes == []
    assert config.scale.title == config.datasets[data].title
    assert "Nothing has been measured" in config.scale.about
    assert config.scale.backbones["default"].model_dump() == network
    like = read_config(root, {"scale": "cifar10-mini"}).scale
    for key in ("batch_sizes", "epochs", "seeds", "metrics", "baselines", "threads", "compile"):
        assert getattr(config.scale, key) == getattr(like, key)
    assert not config.scale.comparable
    made = plan(root, scale="mine")
    assert made.selected == plan(root).selected
    assert list(made.datasets) == [data]


@pytest.mark.slow
@pytest.mark.parametrize("like", ["digits", "paper"])
def test_a_scale_may_be_like_another_one(root, run, like):
    edit(root / "config/scales/digits.yaml", "seeds: 5", "seeds: [3, 1]\ncompile: true")
    assert run(f"scale mine --data cifar10 --recipe cifar10-mini --like {like}")[0] == 0
    mine, other = (read_config(root, {"scale": name}).scale for name in ("mine", like))
    for key in ("batch_sizes", "epochs", "seeds", "metrics", "threads", "compile"):
        assert getattr(mine, key) == getattr(other, key)
    wanted = {
        paper: {data: item for data, item in settings.items() if item.batch_size or item.epochs}
        for paper, settings in other.unnamed.items()
    }
    assert mine.unnamed.keys() == wanted.keys()
    for paper, settings in wanted.items():
        own = {data: (item.backbone, item.batch_size, item.epochs) for data, item in mine.unnamed[paper].items()}
        assert own == {data: (None, item.batch_size, item.epochs) for data, item in settings.items()}
    assert plan(root, scale="mine").selected == plan(root).selected


@pytest.mark.slow
def test_scales_of_one_data_set_have_titles_of_their_own(root, run):
    for name in ("one", "two"):
        assert run(f"scale {name} {DIGITS}")[0] == 0
        plan(root, scale=name)
    assert read_config(root, {"scale": "one"}).scale.title == "Digits"
    assert read_config(root, {"scale": "two"}).scale.title == "Digits, two"


@pytest.mark.slow
@pytest.mark.parametrize(
    "title", ["Flowers: red # 1", "yes", "2048", "[a]", "null", "- 'x' \"y\"", "Blumen, Größe é", "{{", "a $name"]
)
def test_a_title_is_what_the_data_sets_is_whatever_characters_it_has(root, run, title):
    add_data(root, "flowers", title=title)
    assert run("scale mine --data flowers --recipe cifar10-mini")[0] == 0
    assert read_config(root, {"scale": "mine"}).scale.title == title


def test_batches_are_no_larger_than_a_data_set_whose_number_of_images_is_known(root, run):
    add_data(root, "flowers", expected={"train": 100, "test": 40})
    assert run("scale mine --data flowers --recipe cifar10-mini")[0] == 0
    batches = read_config(root, {"scale": "mine"}).scale.batch_sizes
    assert batches == {"default": 64, "32": 8, "64": 16, "128": 32, "256": 64, "512": 64, "1024": 64}
    assert "at most 64, since there are 100 training images" in (root / "config/scales/mine.yaml").read_text()
    plan(root, scale="mine")


@pytest.mark.slow
def test_a_recipe_for_some_papers_only_is_answered_with_the_command_that_works(root, run):
    code, out, _ = run("scale mine --data cifar10 --recipe gps")
    assert code == 0
    assert "`sslpairs plan --set scale=mine --set papers=gps`, then `make tables SCALE=mine PAPERS=gps`." in out
    assert "note: other papers cannot be planned at this scale yet: config/recipes/gps.yaml: methods: no values" in out
    assert plan(root, scale="mine", papers="gps").selected == ["gps-weak", "gps-strong", "gps-augmentation"]


@pytest.mark.slow
def test_a_recipe_for_no_paper_is_told(root, run):
    edit(root / "config/recipes/gps.yaml", "warmup_epochs: 10", "warmup_epochs: 500")
    code, out, _ = run("scale mine --data cifar10 --recipe gps")
    assert code == 0
    assert (
        "note: the papers cannot be planned at this scale yet: config/scales/mine.yaml: epochs: 30 leave nothing" in out
    )


# --- titles of scales ---------------------------------------------------------------------------------------------


def copied(root: Path, title: str) -> None:
    text = (root / "config/scales/digits.yaml").read_text()
    (root / "config/scales/mine.yaml").write_text("# a copy\n" + re.sub("title: .*", f"title: {title}", text))


@pytest.mark.parametrize("title", ["Digits (embedded, CPU)", '"Digits  (embedded,\n  CPU)"'])
@pytest.mark.parametrize(("scale", "words"), [
    ("mine", "config/scales/mine.yaml:2: title: 'Digits (embedded, CPU)' is also the title of config/scales/digits.yaml:1;"),
    ("digits", "config/scales/digits.yaml:1: title: 'Digits (embedded, CPU)' is also the title of config/scales/mine.yaml:2;"),
])  # fmt: skip
def test_a_copy_of_a_scale_that_keeps_the_title_is_refused(root, title, scale, words):
    copied(root, title)
    with pytest.raises(UserError) as caught:
        read_config(root, {"scale": scale})
    assert str(caught.value).startswith(words)
    assert len(str(caught.value).splitlines()) == 1
    assert read_config(root, {"scale": "cifar10-mini"}).scale_name == "cifar10-mini", "it is neither of both"


def test_a_copy_of_a_scale_with_its_own_title_is_read_and_so_is_a_scale_beside_broken_ones(root):
    copied(root, "Digits (embedded, CPU), mine")
    for name, text in {"one": "title: [", "two": "- a", "three": "about: x", "four": "title: {a: b}"}.items():
        (root / f"config/scales/{name}.yaml").write_text(text)
    (root / "config/scales/.#mine.yaml").write_text("title: Digits (embedded, CPU), mine")
    for name in ("digits", "mine"):
        assert read_config(root, {"scale": name}).scale_name == name


# --- papers -------------------------------------------------------------------------------------------------------


def test_a_paper_has_a_table_a_claim_and_a_figure_with_a_comment_for_every_key(root, run):
    code, out, err = run("paper mypaper")
    assert (code, err, len(out.splitlines())) == (0, "", 2)
    assert "make tables PAPERS=mypaper" in out
    file = root / "config/papers/mypaper.yaml"
    keys = ["title", "strategy", "arxiv", "optional", "axes", "note", "rows", "columns", "metrics", "claims", "source"]
    assert commented(file.read_text(), [*keys, "mypaper-main", "mypaper-with-without", "kind"]) == []
    (table,) = read_file(Paper, file, root).tables.values()
    assert (table.rows, len(table.columns)) == (["simclr", "simclr+dimcl", "byol", "byol+dimcl"], 1)
    made = plan(root, papers="mypaper")
    assert made.selected == ["mypaper-main"]
    assert [claim["text"] for claim in made.tables["mypaper-main"]["claims"]] == ["DimCL improves SimCLR"]
    assert made.figures["mypaper-with-without"]["table"] == "mypaper-main"
    path = str(ROOT / "src")
    said = say(root, "sslpairs", "plan", "--set", "papers=mypaper", PYTHONPATH=path).stdout
    assert said.count("mypaper-main") == 1


@pytest.mark.slow
def test_a_new_paper_changes_no_other_build_at_any_scale_and_does_not_hinder_gc(root, run):
    before = plan(root, scale="paper").selected
    every = plan(root, scale="paper", papers="every").selected
    assert run("paper mypaper --strategy gps")[0] == 0
    assert plan(root, scale="paper").selected == before == plan(root).selected
    assert plan(root, scale="paper", papers="every").selected == every, "this scale has no recipe for it"
    assert current_runs(root, {})[1] == []
    with pytest.raises(UserError, match="recipes: no entry for 'mypaper' and no 'default'"):
        plan(root, scale="paper", papers="mypaper")


def test_a_paper_may_be_about_several_strategies(root, run):
    assert run("paper mypaper --strategy dimcl+gps")[0] == 0
    made = plan(root, papers="mypaper").tables["mypaper-main"]
    assert [row["id"] for row in made["rows"]] == ["simclr", "simclr+gps+dimcl", "byol", "byol+gps+dimcl"]
    assert made["title"] == "SimCLR and BYOL with and without GPS + DimCL"


# --- strategies ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_strategy_is_two_files_and_its_entry_that_are_planned_and_as_tidy_as_the_others(coded, run):
    names = "mine", "my_longer_idea"
    for name in names:
        code, out, err = run(f"strategy {name}")
        assert (code, err, len(out.splitlines())) == (0, "", 2)
        assert f"add `{name}: {{weight: 0.1}}` under `strategies:` of a recipe" in out
        edit(coded / "config/recipes/digits.yaml", "\nstrategies:\n", f"\nstrategies:\n  {name}: {{weight: 0.1}}\n")
    shutil.copy(ROOT / "pyproject.toml", coded)
    files = [f"src/sslpairs/{room}/{name}.py" for name in names for room in ("pairs", "config/strategies")]
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--no-cache", *files], cwd=coded, capture_output=True
        )
        assert done.returncode == 0, done.stdout
    done = say(coded, "sslpairs", "new", "paper", "mypaper", "--strategy", "my_longer_idea+mine")
    assert done.returncode == 0, done.stderr
    done = say(coded, "sslpairs", "plan", "--runs", "--set", "papers=mypaper", "--set", "seeds=1")
    assert done.returncode == 0, done.stderr
    assert "byol+mine+my_longer_idea-digits" in done.stdout
    edit(coded / "config/papers/mypaper.yaml", "rows: [simclr,", "rows: [moco+mine,")
    done = say(coded, "sslpairs", "plan", "--set", "papers=mypaper")
    assert "'moco+mine' has no meaning: One-way MoCo projects only view 1" in done.stderr


def test_the_entry_is_one_more_line_of_a_recipe(coded, run):
    path = coded / "config/recipes/digits.yaml"
    before = path.read_text().splitlines()
    code, out, _ = run("strategy mine --recipe digits")
    assert code == 0
    assert "and added it to config/recipes/digits.yaml" in out
    assert "add `" not in out
    after = path.read_text().splitlines()
    (place,) = [number for number, line in enumerate(after) if line.startswith("  mine: {weight: 0.1}  #")]
    assert after[:place] + after[place + 1 :] == before


@pytest.mark.parametrize("file", files_in(ROOT / "config/recipes").values(), ids=lambda file: file.stem)
def test_every_recipe_takes_the_entry(file):
    before, after = file.read_text(), commands.with_entry(file, "mine", "mine: {weight: 0.1}", ROOT)
    assert read_value(after, "")["strategies"] == read_value(before, "")["strategies"] | {"mine": {"weight": 0.1}}
    added = set(after.splitlines()) - set(before.splitlines())
    assert len(added - {"strategies:"}) == 1
    assert set(before.splitlines()) - set(after.splitlines()) <= {"strategies: {}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("a: 1\nstrategies:  # all\n\n    # first\n    gps: 1\nb: 2", "a: 1\nstrategies:  # all\n    E\n\n    # first\n    gps: 1\nb: 2"),
        ("strategies:\r\n  gps: {a: 1}\r\n", "strategies:\n  E\n  gps: {a: 1}\n"),
        ("a: |\n  strategies:\n  x\nstrategies:\n  gps: 1", "a: |\n  strategies:\n  x\nstrategies:\n  E\n  gps: 1"),
        ("a: &x {b: 1}\nstrategies:\n  gps: *x\n", "a: &x {b: 1}\nstrategies:\n  E\n  gps: *x\n"),
        ("strategies: {gps: 1}\n", None),
        ("strategies:\na: 1\n", None),
        ("strategies:\n  {gps: 1}\n", None),
        ("a: 1\n", None),
        ("- a\n", None),
        ("a: 1\n\"strategies\":\n  gps: 1\n", None),
        ("strategies: {}   # none\na: 1\n", "strategies:   # none\n  E\na: 1\n"),
    ],
)  # fmt: skip
def test_the_entry_is_added_below_its_heading_or_left_to_the_user(tmp_path, text, result):
    file = tmp_path / "recipe.yaml"
    file.write_bytes(text.encode())
    if result:
        line = "mine: {weight: 0.1}  # an example, not tuned"
        assert commands.with_entry(file, "mine", "mine: {weight: 0.1}", tmp_path) == result.replace("E\n", line + "\n")
    else:
        with pytest.raises(UserError, match=r"recipe.yaml:\d+: `mine: .* cannot be added .*add it by hand"):
            commands.with_entry(file, "mine", "mine: {weight: 0.1}", tmp_path)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (f"scale digits {DIGITS}", "config/scales/digits.yaml: exists already"),
        ("scale mine --data digit --recipe digits", "--data: 'digit' is not in config/datasets.yaml; did you mean 'digits'?"),
        ("scale mine --data zzz --recipe digits", "--data: 'zzz' is not in config/datasets.yaml; add an entry there"),
        ("scale mine --data digits --recipe digit", "--recipe: 'digit' is not a file in config/recipes; did you mean 'digits'?"),
        (f"scale mine {DIGITS} --like digit", "--like: 'digit' is not a file in config/scales; did you mean 'digits'?"),
        (f"scale all {DIGITS}", "'all' cannot be a name: the word is reserved"),
        (f"scale a/b {DIGITS}", "'a/b' is not a valid name"),
        (f"scale ../x {DIGITS}", "'../x' is not a valid name"),
        (f"scale 1e5 {DIGITS}", "'1e5' cannot be a name: YAML reads it as a number"),
        ("paper gps", "config/papers/gps.yaml: exists already"),
        ("paper gps-weak", "'gps-weak' is already in config/papers/gps.yaml"),
        ("paper figure", "'figure' is the name of a rule of the workflow"),
        ("paper mine --strategy gp", "'gp' is not a pair strategy; did you mean 'gps'?"),
        ("paper mine --strategy gps+gps", "'gps' is given twice"),
        (f"paper {'a' * 55}", "at most 64 characters"),
        ("strategy gps", "src/sslpairs/config/strategies/gps.py: exists already"),
        ("strategy base", "src/sslpairs/config/strategies/base.py: exists already"),
        ("strategy build", "src/sslpairs/pairs/build.py: exists already"),
        ("strategy my-Idea", "did you mean 'my_idea'?"),
        ("strategy 3", "beginning with a letter"),
        ("strategy byol", "'byol' is a base method"),
        ("strategy training", "'training' is a key of recipes"),
        ("strategy optimizer", "'optimizer' is a key of recipes"),
        ("strategy lambda", "'lambda' is a word of Python"),
        ("strategy copy", "'copy' is a word of Python"),
        ("strategy null", "'null' cannot be a name"),
        ("strategy mine --recipe digit", "--recipe: 'digit' is not a file in config/recipes; did you mean 'digits'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_told_in_a_line_or_two_and_nothing_changes(root, run, words, answer, request):
    if words.startswith("strategy"):
        request.getfixturevalue("coded")
    before = snapshot(root)
    code, out, err = run(words)
    assert (code, out) == (2, "")
    assert answer in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) <= 2
    assert snapshot(root) == before


@pytest.mark.parametrize("words", [f"scale mine {DIGITS}", "paper mine", "strategy mine --recipe digits"])
def test_nothing_is_written_twice(coded, run, words):
    assert run(words)[0] == 0
    before = snapshot(coded)
    code, _, err = run(words)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "exists already, so nothing was written" in err
    assert snapshot(coded) == before


def test_a_recipe_with_values_of_that_name_and_a_folder_without_code_are_told(coded, run):
    edit(coded / "config/recipes/digits.yaml", "\nstrategies:\n", "\nstrategies:\n  mine: {weight: 1}\n")
    before = snapshot(coded)
    assert re.search(
        r"config/recipes/digits.yaml:\d+: strategies: has values for 'mine' already",
        run("strategy mine --recipe digits")[2],
    )
    assert snapshot(coded) == before
    shutil.rmtree(coded / "src")
    assert "has no src/sslpairs, where strategies are" in run("strategy mine")[2]


# --- from the first command to a table ------------------------------------------------------------------------------

EVERY_METHOD = """
import sys, torch, tiny
from sslpairs.config.labels import meaning
from sslpairs.config.methods import METHODS
from sslpairs.training.step import step_loss
tiny.STRATEGIES["mine"] = {"weight": 0.5}
bases = [base for base in METHODS if meaning("mine", base).status != "refused"]
for base in bases:
    torch.manual_seed(0)
    method, pairs = tiny.networks(f"{base}+mine")
    xs = [torch.rand(16, 1, 16, 16).double() for _ in range(2)]
    if method.small:
        xs += [torch.rand(16, 1, 6, 6).double() for _ in range(2)]
    total, step = step_loss(method, pairs, xs)
    first, second = (view.projection / view.projection.norm(dim=1, keepdim=True) for view in step.clean[:2])
    assert torch.isclose(total, step.parts["base"] + 0.5 * ((first - second) ** 2).sum(1).mean()), base
    total.backward()
print(*bases)
"""


def rows(project: Path, name: str) -> set[str]:
    with open(project / f"results/tables/{name}.csv") as file:
        return {row["row"] for row in csv.DictReader(file)}


@pytest.mark.slow
def test_a_new_strategy_is_trained_with_every_base_method_and_stands_in_the_table_of_a_new_paper(original, tmp_path):
    project = built(original, tmp_path / "project")
    for words in ("strategy mine --recipe digits", "paper mypaper --strategy mine"):
        done = say(project, "sslpairs", "new", *words.split())
        assert done.returncode == 0, done.stderr
    done = build(project, "mypaper", "--config", "papers=mypaper", "seeds=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"simclr", "simclr+mine", "byol", "byol+mine"} <= rows(project, "digits/mypaper-main")
    assert (project / "results/figures/digits/mypaper-with-without.svg").exists()
    for words in (["schema"], ["schema", "--check"]):
        assert say(project, "sslpairs", *words).returncode == 0
    paths = f"{project / 'src'}:{Path(__file__).parent}"
    done = subprocess.run(
        [sys.executable, "-c", EVERY_METHOD], env={"PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 11


def draw(folder: Path, images: int, first: int) -> None:
    """Images of two classes: discs and bars."""
    for kind in ("disc", "bar"):
        (folder / kind).mkdir(parents=True)
        for number in range(first, first + images):
            image = Image.new("RGB", (40, 36), (number * 7 % 255, 90, 120))
            box = [4 + number % 9, 3 + number % 7, 22 + number % 9, 21 + number % 7]
            pen = ImageDraw.Draw(image)
            pen.ellipse(box, fill="white") if kind == "disc" else pen.rectangle(
                [box[0], box[1], box[2], box[1] + 4], fill="white"
            )
            image.save(folder / kind / f"{number}.png")


@pytest.mark.slow
def test_ones_own_images_become_a_table_at_a_scale_of_their_own(original, tmp_path):
    project = built(original, tmp_path / "project")
    draw(tmp_path / "shapes/train", 40, 0)
    draw(tmp_path / "shapes/test", 20, 100)
    source = f"{{kind: image-folder, path: {tmp_path / 'shapes'}, size: 32}}"
    edit(
        project / "config/datasets.yaml",
        "\ndatasets:\n",
        f"\ndatasets:\n  shapes: {{title: Shapes, source: {source}}}\n",
    )
    for words in ("fetch shapes", "new scale shapes --data shapes --recipe cifar10-mini", "plan --set scale=shapes"):
        done = say(project, "sslpairs", *words.split())
        assert done.returncode == 0, done.stdout + done.stderr
    scale = project / "config/scales/shapes.yaml"
    edit(scale, "epochs: {default: 30}", "epochs: {default: 2}")
    edit(scale, "widths: [32, 64, 128, 256]", "widths: [8, 16]")
    edit(project / "config/recipes/cifar10-mini.yaml", "epochs: 100", "epochs: 5")
    done = build(project, "clae-main", "--config", "scale=shapes", "seeds=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"simclr", "simclr+clae", "untrained", "pixels"} <= rows(project, "shapes/clae-main")
