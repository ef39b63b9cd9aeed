"""What no configuration means is refused in words: odd YAML, names that match nothing, numbers and texts beyond all use."""

import re
import subprocess

import pytest
from test_config import CONFIG, DATASETS, PAPER, PROJECT, RECIPE, SCALE, TABLE, edit, error, plan, replace, root  # noqa: F401

from sslpairs.config.loading import load_yaml, read_value
from sslpairs.config.reading import RULES, read_config
from sslpairs.errors import UserError, listed, nearest
from sslpairs.workflow.builds import as_typed

# --- numbers mean the same in a file and on the command line -----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1:30", "1:30"), ("1_000", "1_000"), ("0x10", 16), ("0o10", 8), ("0b1", "0b1"), ("1e3", 1000.0)],
        *[(word, word) for word in ("yes", "no", "on", "off", "Yes", "2020-13-45")],
        *[("true", True), ("FALSE", False), ("null", None), ("~", None), ("[1, a]", [1, "a"])],
    ],
)
def test_a_value_is_that_of_yaml_1_2_in_a_file_and_on_the_command_line(tmp_path, text, value):
    (tmp_path / "x.yaml").write_text(f"key: {text}\n")
    assert load_yaml(tmp_path / "x.yaml", tmp_path) == {"key": value}
    assert read_value(text, "x") == value


def test_a_leading_zero_is_refused_wherever_it_stands(root):  # noqa: F811
    assert (
        error(root, {"seeds": "010"}) == "command line: seeds: 010: ambiguous, some programs read it as octal; write 10"
    )
    replace(root, CONFIG, "seeds: null", "seeds: 010")
    assert "config/config.yaml:8: 010: ambiguous, some programs" in error(root)


def test_snakemakes_own_reading_of_numbers_is_not_taken():
    assert as_typed({"seeds": 10, "papers": "x"}, ["seeds=010"]) == {"seeds": "010", "papers": "x"}


@pytest.mark.parametrize("word", ["no", "yes", "on", "off"])
def test_a_data_set_may_be_named_by_a_word_that_yaml_1_1_takes_for_a_truth_value(root, word):  # noqa: F811
    replace(root, DATASETS, "  digits:\n", f"  {word}:\n")
    replace(root, SCALE, "{default: digits}\nbackbones", f"{{default: {word}}}\nbackbones")
    assert {run["dataset"] for run in plan(root).runs.values()} == {word}


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("lr: 1,0e-3,", "is it the rest of a number with a decimal comma"),
        ("lr: '1,0e-3',", "write 1.0e-3"),
        ("lr: '0.1',", "write 0.1 without quotes"),
        ("lr: 1_000,", "write 1000 without separators"),
    ],
)
def test_a_number_written_otherwise_is_answered_with_how_it_is_written(root, written, words):  # noqa: F811
    replace(root, RECIPE, "lr: 1.0e-3,", written)
    assert words in error(root)


def test_a_truth_value_or_a_text_written_otherwise_is_answered_with_how_it_is_written(root):  # noqa: F811
    replace(root, SCALE, "comparable: false", "comparable: no")
    assert "write false" in error(root)
    replace(root, SCALE, "comparable: no", "comparable: false")
    replace(root, PAPER, 'arxiv: "2010.06300"', "arxiv: 2010.06300")
    assert "write it in quotes" in error(root)


def test_a_list_on_the_command_line_may_have_spaces_and_a_lost_word_is_told(root):  # noqa: F811
    assert read_config(root, {"papers": "mixco, clae"}).settings.papers == ["mixco", "clae"]
    assert read_config(root, {"seeds": "0, 7"}).settings.seeds == [0, 7]
    assert "ends with a comma" in error(root, {"papers": "mixco,"})


def test_make_hands_on_a_list_with_spaces_as_one_word():
    words = ["make", "-n", "tables", "PAPERS=mixco, clae", "SEEDS=2"]
    lines = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True).stdout
    assert "snakemake   --config 'papers=mixco, clae' 'seeds=2'" in lines
    assert "sslpairs tables  --set 'papers=mixco, clae' --set 'seeds=2'" in lines


# --- files that are not what they seem --------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x: " + b"[" * 900 + b"]" * 900, "nested deeper than 32 levels"),
        (b"- " * 100_000 + b"a", "nested deeper than 32 levels"),
        (BOMB.encode(), "values with aliases (*) expanded"),
        (b"x: &a [*a]", "*a refers to itself"),
        ("title: x".encode("utf-16-le"), "UTF-8"),
        (b"title: a\n---\ntitle: b\n", "a second document begins (---)"),
        (b"title: x\nabout:\n\tx: 1\n", "a tab"),
        (b'title: "a\\e[31mb"', "the invisible character U+001B"),
        ("title: a\u202eb".encode(), "the invisible character U+202E"),
        (b"title: " + b"a" * 100_000, "a text of 100,000 characters"),
        (b"title: " + b"9" * 100, "a number of 100 digits"),
        (b" " * 5_000_000, "5,000,000 bytes"),
    ],
    ids=["nested", "crash", "bomb", "loop", "utf-16", "two", "tab", "escape", "bidi", "long", "digits", "large"],
)
def test_odd_yaml_is_refused_in_a_short_line(root, content, words):  # noqa: F811
    (root / "config" / RECIPE).write_bytes(content)
    message = error(root)
    assert message.startswith(f"config/{RECIPE}:")
    assert words in message
    assert len(message) < 300


def test_utf_16_with_its_mark_is_read_and_mistakes_in_it_have_a_line(root):  # noqa: F811
    path = root / "config" / CONFIG
    text = path.read_text()
    path.write_bytes(text.encode("utf-16"))
    assert read_config(root).settings.seeds == [0, 1, 2, 3, 4]
    path.write_bytes(text.replace("device: auto", "device: coda").encode("utf-16"))
    assert error(root).startswith("config/config.yaml:9: device: 'coda' is not a device")


def test_a_folder_a_pipe_or_a_loop_of_links_in_place_of_a_file_is_told(root):  # noqa: F811
    path = root / "config/papers/x.yaml"
    path.mkdir()
    assert error(root) == "config/papers/x.yaml: a folder, but a file is expected; rename or remove it"
    path.rmdir()
    path.symlink_to(path)
    assert error(root).startswith("config/papers/x.yaml: cannot be read (")
    path.unlink()
    (root / "config/papers/._gps.yaml").write_bytes(b"\x00\x05")
    assert read_config(root)


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "key"),
    [
        (PAPER, "tables.mixco-size"),
        (PAPER, "figures.mixco-curves"),
        (DATASETS, "datasets.imagenet"),
        (RECIPE, "augmentations.weak"),
    ],
)
@pytest.mark.parametrize("name", ["x$(touch INJECTED)", "a b", "../x", "a;b", "-x", "x" * 65, "null", "12", "all"])
def test_a_name_that_a_shell_a_path_or_yaml_would_read_is_refused(root, file, key, name):  # noqa: F811
    edit(root, file, key, name=name)
    message = error(root)
    assert message.startswith(f"config/{file}:")
    assert f": {key.split('.')[0]}." in message


@pytest.mark.parametrize("folder", ["papers", "scales", "recipes"])
def test_a_file_whose_name_a_shell_would_read_is_refused(root, folder):  # noqa: F811
    old = {"papers": PAPER, "scales": SCALE, "recipes": RECIPE}[folder]
    path = root / "config" / old
    path.rename(path.with_name("x$(touch INJECTED).yaml"))
    if folder == "recipes":
        edit(root, SCALE, "recipes.default", "x$(touch INJECTED)")
    choice = {"scale": "x$(touch INJECTED)"} if folder == "scales" else None
    assert f"config/{folder}/x$(touch INJECTED).yaml: rename the file" in error(root, choice)


def test_names_that_stand_twice_are_told(root):  # noqa: F811
    edit(root, PAPER, "figures.mixco-curves", name="gps-curves")
    assert "figure 'gps-curves' is defined in two papers" in error(root)
    edit(root, PAPER, "figures.gps-curves", name="mixco-curves")
    edit(root, PAPER, "tables.mixco-size", name="gps")
    edit(root, PAPER, "figures", {})
    assert "'gps' is also the name of a paper" in error(root)


@pytest.mark.parametrize("rule", RULES[1:])
def test_no_table_has_the_name_of_a_rule(root, rule):  # noqa: F811
    edit(root, PAPER, "tables.mixco-size", name=rule)
    assert error(root).startswith(f"config/papers/mixco.yaml: '{rule}' is the name of a workflow rule")


def test_the_names_of_rules_are_known():
    files = [PROJECT / "Snakefile", *(PROJECT / "workflow/rules").glob("*.smk")]
    found = [name for file in files for name in re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE)]
    assert sorted(found) == sorted(RULES)


# --- keys that match nothing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "key", "value", "words"),
    [
        (SCALE, "backbones", {"default": {"kind": "convnet", "widths": [8]}, "resnet1x": {"kind": "convnet", "widths": [4]}},
         "backbones.resnet1x: no table in config/papers names it; did you mean 'resnet18'?"),
        (SCALE, "datasets", {"default": "digits", "CIFAR10": "digits"}, "datasets.CIFAR10: no table"),
        (SCALE, "unnamed", {"clae": {"CIFAR100": {"epochs": 800}}}, "unnamed.clae.CIFAR100"),
        (SCALE, "unnamed", {"clae": {"default": {"backbone": "resnet81"}}}, "unnamed.clae.default.backbone: 'resnet81' is not"),
        (SCALE, "unnamed", {"clae": {"default": {"epochs": 77}}}, "unnamed.clae.default.epochs: '77' is not"),
        (PAPER, f"{TABLE}.setting.dataset", "TinyImagNet", "no scale has 'TinyImagNet'; did you mean 'TinyImageNet'?"),
        (PAPER, f"{TABLE}.columns.0.backbone", "resnet1x", "no scale has 'resnet1x'; did you mean 'resnet"),
        (PAPER, "figures.mixco-with-without.metric", "online.top1", "figures.mixco-with-without.metric: 'online.top1' is not among"),
    ],
)  # fmt: skip
def test_a_key_or_name_that_matches_nothing_is_told_with_the_right_one(root, file, key, value, words):  # noqa: F811
    edit(root, file, key, value)
    message = error(root)
    assert message.startswith(f"config/{file.replace(SCALE, 'scales/digits.yaml')}:")
    assert words in message


def test_a_misspelt_network_of_unnamed_drops_no_table_in_silence(root):  # noqa: F811
    replace(
        root,
        "scales/paper.yaml",
        "default: {backbone: resnet50-cifar, batch",
        "default: {backbone: resnet50-cfar, batch",
    )
    message = error(root, {"scale": "paper", "papers": "every", "tables": "every"})
    assert "unnamed.gps.default.backbone: 'resnet50-cfar'" in message
    assert "did you mean 'resnet50-cifar'?" in message


def test_a_key_of_a_paper_that_is_not_here_is_said_and_no_error(root):  # noqa: F811
    edit(root, SCALE, "batch_sizes.77", 8)
    assert "no table in config/papers names it, so it has no effect" in "".join(plan(root).notes)
    assert plan(PROJECT, {"scale": "digits"}).notes == []


# --- numbers and texts beyond all use ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        (SCALE, "batch_sizes.default", 10**7),
        (SCALE, "epochs.default", 10**9),
        (SCALE, "backbones.default.widths.0", 10**6),
        (RECIPE, "strategies.gps.neighbours", 10**20),
        (RECIPE, "training.optimizer.lr", 1e12),
        (RECIPE, "methods.simclr.temperature", 1e12),
        (RECIPE, "methods.simclr.projector.output", 10**6),
        (RECIPE, "augmentations.strong.crop.ratio.1", 1e6),
        (CONFIG, "jobs", 10**9),
        (DATASETS, "datasets.imagenet.source.train_per_class", 10**12),
    ],
)
def test_a_number_beyond_all_use_is_refused(root, file, key, value):  # noqa: F811
    edit(root, file, key, value)
    message = error(root)
    assert message.startswith(f"config/{file}:")
    assert "less than or equal to" in message


@pytest.mark.parametrize("value", [-1, 10**12, 100.5])
def test_a_published_accuracy_is_a_percentage(root, value):  # noqa: F811
    edit(root, "papers/lightly.yaml", "tables.lightly-cifar10.published.0.value", value)
    assert "published.0.value: found" in error(root)


@pytest.mark.parametrize("path", ["", " ", ".", "./", "sources/..", "/"])
def test_the_project_itself_is_no_data_set(root, path):  # noqa: F811
    edit(root, DATASETS, "datasets.imagenet.source.path", path)
    assert "is not a folder or archive of images" in error(root)


def test_a_warm_up_that_leaves_nothing_is_told_for_papers_that_are_not_chosen_too(root):  # noqa: F811
    edit(root, "recipes/mixco.yaml", "training.schedule.warmup_epochs", 100_000)
    message = error(root, {"scale": "paper", "papers": "gps"})
    assert "a warm-up of 100000" in message
    assert "config/recipes/mixco.yaml" in message
    edit(root, "recipes/mixco.yaml", "training.schedule.warmup_epochs", 1)
    edit(root, "recipes/mixco.yaml", "training.schedule.hold_epochs", 100_000)
    assert "after a warm-up of 1.0 epochs and a plateau of 100000 (" in error(root, {"scale": "paper", "papers": "gps"})
    edit(root, RECIPE, "evaluation.linear.schedule.warmup_epochs", 100_000)
    assert "evaluation.linear: " in error(root)


@pytest.mark.parametrize(
    ("file", "key", "value", "words"),
    [
        (SCALE, "batch_sizes.default", 1298, "a batch of 1,298 exceeds the 1,297 training images of data set 'digits'"),
        (RECIPE, "strategies.gps.neighbours", 1297, "1,297 exceeds the 1,296 candidates in data set 'digits'"),
        (RECIPE, "evaluation.knn.neighbours", 1298, "1,298 exceeds the 1,297 training images of data set 'digits'"),
    ],
)
def test_what_the_data_set_does_not_have_is_told_by_the_plan(root, file, key, value, words):  # noqa: F811
    edit(root, file, key, value)
    message = error(root, {"papers": "gps"})
    assert message.startswith(f"config/{file}: {key.removesuffix('.default')}")
    assert words in message


@pytest.mark.parametrize("known", ["expected", "prepared", "prepared otherwise"])
def test_how_many_images_there_are_is_known_from_the_record_or_from_what_is_expected(root, known):  # noqa: F811
    source = {"kind": "image-folder", "path": "x", "size": 16}
    entry = {"title": "X", "source": source} | ({"expected": {"train": 100, "test": 10}} if known == "expected" else {})
    edit(root, DATASETS, "datasets.x", entry)
    edit(root, SCALE, "datasets.default", "x")
    if known != "expected":
        (root / "data/x").mkdir(parents=True)
        content = "0" * 64 if known == "prepared" else "1" * 64
        receipt = f'{{"content": "{content}", "counts": {{"train": 100, "test": 10}}, "image": [3, 16, 16]}}'
        (root / "data/x/dataset.json").write_text(receipt)
    if known == "prepared otherwise":
        assert plan(root, {"papers": "gps"}).runs
    else:
        assert "a batch of 128 exceeds the 100 training images of data set 'x'" in error(root, {"papers": "gps"})


def test_a_queue_larger_than_the_data_is_said(root):  # noqa: F811
    edit(root, RECIPE, "methods.nnclr.queue", 4096)
    notes = plan(root, {"papers": "gps"}).notes
    assert notes == [
        "the queue of 4,096 of nnclr is larger than the 1,297 training images of digits: it contains images more than once"
    ]


def test_settings_that_wait_for_an_epoch_that_is_not_reached_are_said(root):  # noqa: F811
    schedule = {"name": "steps", "warmup_epochs": 0, "milestones": [5, 30], "factors": [0.1, 0.01]}
    edit(root, RECIPE, "training.schedule", schedule)
    edit(root, RECIPE, "methods.dino.teacher_warmup_epochs", 31)
    edit(root, RECIPE, "methods.dino.freeze_epochs", 30)
    notes = plan(root, {"papers": ["beyond"], "tables": "every"}).notes
    assert any(
        re.match(r"the learning rate's milestone at epoch 30 \(.*dino.*\) is not reached by", note) for note in notes
    )
    assert "the end of the teacher's warm-up of 31 epochs (dino) is not reached by a training of 30 epochs" in notes
    assert "the end of the last layer's freeze of 30 epochs (dino) is not reached by a training of 30 epochs" in notes
    edit(root, RECIPE, "training.schedule", {**schedule, "milestones": [5, 29]})
    edit(root, RECIPE, "methods.dino.teacher_warmup_epochs", 30)
    edit(root, RECIPE, "methods.dino.freeze_epochs", 29)
    assert not plan(root, {"papers": ["beyond"], "tables": "every"}).notes


@pytest.mark.parametrize(
    ("file", "key"),
    [
        (RECIPE, "training.precision"),
        (RECIPE, "training.augmentation"),
        (RECIPE, "training.optimizer.name"),
        (RECIPE, "strategies.spps.guide.method"),
        (SCALE, "recipes.default"),
        (SCALE, "datasets.default"),
        (PAPER, f"{TABLE}.rows.0"),
        (PAPER, f"{TABLE}.claims.0.better"),
        (PAPER, f"{TABLE}.setting.augmentation"),
        (PAPER, "figures.mixco-curves.table"),
    ],
)
def test_a_long_text_is_not_repeated_whole(root, file, key):  # noqa: F811
    edit(root, file, key, "word " * 3000)
    assert len(error(root)) < 1000
    edit(root, file, key, "x" * 15_000)
    assert len(error(root)) < 1000


def test_a_long_key_or_word_of_the_command_line_is_not_repeated_whole(root):  # noqa: F811
    for choice in ({"papers": "x" * 15_000}, {"x" * 15_000: "1"}, {"device": "x" * 15_000}, {"tables": ["y" * 15_000]}):
        assert len(error(root, choice)) < 2500
    edit(root, RECIPE, "methods.simclr", name="x" * 15_000)
    assert len(error(root)) < 1000


def test_an_error_can_be_printed_whatever_it_is_about():
    message = str(UserError(f"'{'x' * 100_000}' \x1b[31m \u202e \udcff\nwrite y"))
    assert len(message) < 200
    assert message.endswith("' \\x1b[31m \\u202e \\udcff\nwrite y") or "\\x1b[31m \\u202e \\udcff\nwrite y" in message
    assert listed(map(str, range(100))).endswith("39 and 60 more")
    assert len(nearest("a" * 100_000, ["a" * 100_000])) < 120


def test_a_title_is_one_line(root):  # noqa: F811
    edit(root, PAPER, f"{TABLE}.title", "One\n  line\n")
    assert read_config(root).papers["mixco"].tables["mixco-tinyimagenet"].title == "One line"
