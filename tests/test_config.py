"""The configuration: what ships can be read, and every mistake is answered with file, line, key, value and remedy."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from sslpairs.config.labels import combinations_page, meaning, parse_label
from sslpairs.config.methods import METHODS
from sslpairs.config.reading import load_yaml, read_config
from sslpairs.config.schemas import stale_files, write_generated
from sslpairs.config.strategies import STRATEGIES
from sslpairs.errors import UserError
from sslpairs.plan.planner import make_plan

PROJECT = Path(__file__).resolve().parents[1]
SCALES = sorted(path.stem for path in (PROJECT / "config/scales").glob("*.yaml"))
CONFIG, DATASETS = "config.yaml", "datasets.yaml"
RECIPE, SCALE, PAPER = "recipes/digits.yaml", "scales/digits.yaml", "papers/mixco.yaml"
TABLE = "tables.mixco-tinyimagenet"


@pytest.fixture
def root(tmp_path) -> Path:
    shutil.copytree(PROJECT / "config", tmp_path / "config")
    return tmp_path


def edit(root: Path, file: str, key: str, *value, name: str | None = None) -> None:
    """Write a value at a dotted key; without a value remove the key, or give it another name."""
    path = root / "config" / file
    whole = place = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    *parents, last = [int(word) if word.isdecimal() else word for word in key.split(".")]
    for word in parents:
        place = place[word]
    if value:
        place[last] = value[0]
    elif name:
        place[name] = place.pop(last)
    else:
        del place[last]
    path.write_text(yaml.dump(whole, Dumper=yaml.CSafeDumper, sort_keys=False))


def replace(root: Path, file: str, old: str, new: str) -> None:
    path = root / "config" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def plan(root: Path, overrides: dict | None = None):
    config = read_config(root, overrides)
    return make_plan(config, dict.fromkeys(config.datasets, "0" * 64))


def error(root: Path, overrides: dict | None = None) -> str:
    """What a user is told: by the reader, or else by the planner."""
    with pytest.raises(UserError) as caught:
        plan(root, overrides)
    message = str(caught.value)
    assert len(message.splitlines()) in (1, 2), message
    return message


def named_line(root: Path, message: str) -> str:
    """The line of the file that a message points at."""
    found = re.match(r"([^:]+):(\d+): ", message)
    assert found, f"names no line: {message}"
    return (root / found[1]).read_text().splitlines()[int(found[2]) - 1]


# --- what ships ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
def test_the_shipped_configuration_reads_and_every_table_can_be_planned_at_every_scale(scale):
    papers = read_config(PROJECT).papers
    tables = {name: (paper, table) for paper in papers.values() for name, table in paper.tables.items()}
    made = plan(PROJECT, {"scale": scale})
    assert made.selected == [name for name, (paper, table) in tables.items() if not (paper.optional or table.optional)]
    assert list(made.tables) == [name for name, (_, table) in tables.items() if not table.optional]
    assert made.left_out == [name for name, (_, table) in tables.items() if table.optional]
    every = plan(PROJECT, {"scale": scale, "papers": "every", "tables": "every"})
    assert every.selected == list(every.tables) == list(tables)


def test_an_optional_paper_is_built_when_it_or_its_table_is_named():
    assert plan(PROJECT, {"papers": "beyond"}).selected == ["strategies"]
    assert plan(PROJECT, {"tables": "strategies"}).selected == ["strategies"]
    assert plan(PROJECT, {"papers": "beyond,clae"}).selected == ["strategies", "clae-main"]


@pytest.mark.parametrize(
    ("papers", "tables", "selected"),
    [
        ("clae", "all", ["clae-main"]),
        ("clae", "every", ["clae-main", "clae-batch", "clae-ablation", "clae-transfer"]),
        ("clae", "clae-batch", ["clae-batch"]),
        ("all", "clae-batch,strategies", ["strategies", "clae-batch"]),
        ("every", "clae-batch", ["clae-batch"]),
        ("beyond", "all", ["strategies"]),
        ("beyond", "every", ["strategies", "combinations", "guides"]),
    ],
)
def test_an_optional_table_is_built_when_it_is_named_or_every_is_written(papers, tables, selected):
    assert plan(PROJECT, {"papers": papers, "tables": tables}).selected == selected


def test_every_of_the_papers_alone_adds_optional_papers_and_no_optional_tables():
    whole = read_config(PROJECT).papers
    tables = [name for paper in whole.values() for name, table in paper.tables.items() if not table.optional]
    assert plan(PROJECT, {"papers": "every"}).selected == tables


def test_a_choice_of_optional_tables_only_is_answered_and_not_built_as_nothing(root):
    edit(root, "papers/clae.yaml", "tables.clae-main.optional", True)
    message = error(root, {"papers": "clae"})
    assert re.match(r"config/config.yaml:\d+: tables: all tables of the chosen papers are optional", message)
    assert "write 'every' or name some (clae-main, clae-batch, clae-ablation, clae-transfer)" in message


@pytest.mark.parametrize("choice", ["eve", "evry"])
def test_a_misspelt_every_is_answered_with_the_right_word(root, choice):
    assert "did you mean 'every'" in error(root, {"papers": choice})
    assert "did you mean 'every'" in error(root, {"tables": choice})


def test_every_leaves_out_optional_tables_that_the_scale_is_not_made_for_and_a_name_does_not(root):
    edit(root, SCALE, "epochs", {"10": 10, "100": 10, "200": 10, "800": 10, "1000": 10})
    edit(
        root,
        SCALE,
        "unnamed",
        {name: {"default": {"epochs": 10}} for name in ("clae", "gps", "spps", "dimcl", "beyond")},
    )
    both = {"papers": "every", "tables": "every"}
    made = plan(root, both)
    assert "spps-epochs" not in made.tables, "400 epochs stand for nothing"
    assert {"spps-batch", "gps-k"} <= set(made.selected)
    assert "no entry for '400'" in error(root, {"tables": "spps-epochs"})
    edit(root, "papers/spps.yaml", "tables.spps-methods.setting", {"epochs": 400})
    assert "no entry for '400'" in error(root, both), "a main table is not left out"


def test_what_a_table_leaves_open_is_the_scales_unnamed_value_for_that_paper_and_data_set(root):
    edit(root, SCALE, "epochs", {"default": 10, "20": 20, "30": 30})
    edit(root, SCALE, "datasets", {"default": "digits", "CIFAR-100": "digits"})
    edit(root, SCALE, "unnamed", {"clae": {"default": {"epochs": 20}, "CIFAR-100": {"epochs": 30}}})
    made = plan(root)
    epochs = {tuple(c["stands_for"]): c["settings"]["epochs"] for c in made.tables["clae-main"]["columns"]}
    assert epochs == {
        ("CIFAR-10, resnet18-cifar", "TinyImageNet, resnet18-cifar"): 20,
        ("CIFAR-100, resnet18-cifar",): 30,
    }
    assert {c["settings"]["epochs"] for c in made.tables["spps-methods"]["columns"]} == {10}
    edit(root, SCALE, "unnamed", {"clea": {}})
    assert "unnamed: 'clea' is not a file in config/papers, did you mean 'clae'" in error(root).replace(";", ",")
    edit(root, SCALE, "unnamed", {"clae": {"CIFAR100": {"epochs": 30}}})
    assert "unnamed.clae.CIFAR100: no table in config/papers/clae.yaml uses it; did you mean 'CIFAR-100'?" in error(
        root
    )


OF_SPEC = {
    "spps-batch",
    "spps-methods",
    "spps-epochs",
    "spps-threshold",
    "mixco-tinyimagenet",
    "mixco-transfer",
    "mixco-size",
    "mixco-temperature",
    "dimcl-frameworks",
    "dimcl-datasets",
    "dimcl-backbones",
    "dimcl-ablation",
    "gps-strong",
    "gps-weak",
    "gps-rhid",
    "gps-embedding",
    "gps-lr",
    "gps-k",
    "clae-main",
    "clae-batch",
    "clae-transfer",
    "clae-ablation",
    "lightly-cifar10",
    "sololearn-cifar",
    "combinations",
    "guides",
}
"""The tables and figures that the project means to regenerate."""


def test_every_table_that_the_papers_have_is_declared():
    declared = {name for paper in read_config(PROJECT).papers.values() for name in paper.tables}
    assert declared >= OF_SPEC
    assert declared - OF_SPEC == {"strategies", "gps-augmentation", "gps-encoders"}, "tables of our own"


def test_every_published_value_of_the_reference_tables_may_stand_beside_results_at_the_papers_scale_only():
    for scale, comparable in (("paper", True), ("digits", False)):
        made = plan(PROJECT, {"scale": scale, "tables": "lightly-cifar10,sololearn-cifar"})
        values = [value for name in ("lightly-cifar10", "sololearn-cifar") for value in made.tables[name]["published"]]
        assert {value["comparable"] for value in values} == {comparable}
        assert len(values) == 24 + 18
        assert all("github.com" in value["source"] for value in values)


def test_the_papers_scale_trains_what_the_tables_name_and_shrinks_nothing():
    scale = read_config(PROJECT, {"scale": "paper"}).scale
    for sizes in (scale.batch_sizes, scale.epochs):
        assert all(name == str(size) for name, size in sizes.items())
    assert not any("default" in mapped for mapped in (scale.datasets, scale.backbones, scale.batch_sizes, scale.epochs))


def test_every_shipped_paper_names_its_own_strategy_and_has_a_table_with_and_without_it():
    papers = {name: paper for name, paper in read_config(PROJECT).papers.items() if not paper.optional}
    assert {paper.strategy for paper in papers.values()} == set(STRATEGIES)
    for paper in papers.values():
        for table in paper.tables.values():
            with_it = {str(parse_label(row)) for row in table.rows if paper.strategy in parse_label(row).strategies}
            without = {str(parse_label(row)) for row in table.rows} - with_it
            assert with_it
            assert without


def test_what_is_written_from_the_code_fits_the_code():
    assert stale_files(PROJECT) == []


def test_a_generated_file_that_is_missing_or_altered_is_stale(tmp_path):
    write_generated(tmp_path)
    assert stale_files(tmp_path) == []
    (tmp_path / "config/schemas/paper.schema.json").unlink()
    (tmp_path / "docs/combinations.md").write_text("# Base methods\n")
    assert sorted(stale_files(tmp_path)) == ["config/schemas/paper.schema.json", "docs/combinations.md"]


def test_every_combination_has_a_meaning_or_a_reason_and_labels_obey_it():
    page = combinations_page()
    for name, strategy in STRATEGIES.items():
        assert set(strategy.meanings) <= set(METHODS)
        for base, method in METHODS.items():
            found = meaning(name, base)
            assert f"| {method.title} | " in page
            assert found.text in page
            if found.status == "refused":
                with pytest.raises(UserError) as caught:
                    parse_label(f"{base}+{name}")
                assert found.text in str(caught.value)
            else:
                assert parse_label(f"{base}+{name}").strategies == (name,)


def test_the_released_settings_are_those_of_the_released_code():
    released = {(name, base) for name in STRATEGIES for base in METHODS if meaning(name, base).status == "released"}
    assert released == {
        *(("mixco", base) for base in ("simclr", "moco", "swav")),
        *(("dimcl", base) for base in ("simclr", "mocoplus", "byol", "simsiam", "barlowtwins", "vicreg")),
        *(("gps", base) for base in ("simclr", "byol", "barlowtwins", "vicreg")),
        *(("clae", base) for base in ("simclr", "uel", "plain")),
    }


def test_rows_that_nobody_types_are_all_combinations_with_a_meaning():
    tables = read_config(PROJECT, {"papers": "every"}).papers["beyond"].tables
    assert set(tables["strategies"].rows) == {
        label
        for base in METHODS
        for label in (base, *(f"{base}+{name}" for name in STRATEGIES))
        if label != "moco+dimcl"
    }
    assert len(tables["combinations"].rows) == 2 * (1 + 5 + 10)
    claims = {claim.text: claim for claim in tables["strategies"].all_claims()}
    assert len(claims) == len(tables["strategies"].rows) - len(METHODS)
    assert (claims["MixCo improves BYOL"].better, claims["MixCo improves BYOL"].than) == ("byol+mixco", "byol")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"bases": "all", "strategies": "some"}, "strategies: Input should be 'each' or 'pairs'"),
        ({"bases": ["simclr", "no"], "strategies": "each"}, "bases: "),
        ({"bases": "all"}, "strategies: Field required"),
    ],
)
def test_rows_that_mean_nothing_are_told(root, rows, words):
    edit(root, "papers/beyond.yaml", "tables.strategies.rows", rows)
    assert words in error(root, {"papers": "every"})


# --- how YAML is read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-3", 0.001), ("1E5", 1e5), ("-2e+1", -20.0), (".5e1", 5.0), ("1.e2", 100.0), ("3.0e-4", 3e-4)],
)
def test_a_number_in_scientific_notation_is_a_number_with_or_without_a_dot(tmp_path, text, number):
    (tmp_path / "some.yaml").write_text(f"value: {text}\n")
    assert load_yaml(tmp_path / "some.yaml", tmp_path) == {"value": number}


@pytest.mark.parametrize("text", ["e3", "1e", "conv1e3", "1e3x", "'1e-3'"])
def test_what_only_resembles_a_number_stays_text(tmp_path, text):
    (tmp_path / "some.yaml").write_text(f"value: {text}\n")
    assert load_yaml(tmp_path / "some.yaml", tmp_path) == {"value": text.strip("'")}


def test_a_learning_rate_may_be_written_as_1e_3(root):
    before = read_config(root).recipes
    replace(root, RECIPE, "lr: 1.0e-3", "lr: 1e-3")
    assert read_config(root).recipes == before


def test_a_whole_number_and_the_same_text_are_the_same_key_of_a_scale(root):
    replace(root, SCALE, "256: 64", '"256": 64')
    assert read_config(root).scale == read_config(PROJECT).scale
    assert read_config(root).scale.batch_sizes["256"] == 64


@pytest.mark.parametrize(
    ("written", "seeds"),
    [(3, [0, 1, 2]), ([0, 7], [0, 7]), ("3", [0, 1, 2]), ("0,7", [0, 7]), ("[0, 7]", [0, 7]), ("[7]", [7])],
)
def test_seeds_are_a_number_or_a_list_in_the_file_and_on_the_command_line(root, written, seeds):
    assert read_config(root, {"seeds": written}).settings.seeds == seeds


@pytest.mark.parametrize("written", [["mixco", "gps"], "mixco,gps", "[mixco, gps]", " mixco , gps "])
def test_papers_may_come_as_a_list_or_as_words(root, written):
    assert read_config(root, {"papers": written}).settings.papers == ["mixco", "gps"]


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_devices_that_exist_are_accepted(root, device):
    assert read_config(root, {"device": device}).settings.device == device


def test_the_command_line_goes_before_the_file(root):
    edit(root, CONFIG, "seeds", 9)
    settings = read_config(root, {"seeds": "2", "jobs": "4"}).settings
    assert (settings.seeds, settings.jobs) == ([0, 1], 4)


# --- mistakes found while reading: file, line, key, value, remedy ------------------------------------------------

# file, dotted key that is written, its new value (or its new name) -> key in the message, words of the message, what
# the named line holds
WRONG_VALUES = [
    (RECIPE, "training.precision", "float23", ["training.precision", "'float23'", "did you mean 'float32'"]),
    (RECIPE, "training.precision", 32, ["training.precision", "32 (a whole number)", "float32, bfloat16"]),
    (RECIPE, "training.optimizer.name", "adm", ["training.optimizer", "'adm'", "did you mean 'adam'"], "optimizer:"),
    (RECIPE, "training.optimizer.lr", 0, ["training.optimizer.lr", "found 0", "greater than 0"]),
    (RECIPE, "training.optimizer.lr", "1e-3 ", ["training.optimizer.lr", "'1e-3 ' (text)", "expected a number"]),
    (RECIPE, "training.schedule.name", "cosin", ["training.schedule", "'cosin'", "'cosine'"], "schedule:"),
    (RECIPE, "methods.moco.queue", "many", ["methods.moco.queue", "'many' (text)", "expected a whole number"]),
    (RECIPE, "methods.moco.queue", 10.5, ["methods.moco.queue", "10.5 (a number)", "expected a whole number"]),
    (
        RECIPE,
        "methods.moco.queue",
        True,
        ["methods.moco.queue", "True (true/false)", "expected a whole number"],
        "queue",
    ),
    (
        RECIPE,
        "methods.byol.momentum",
        [0.99, 2.0],
        ["methods.byol.momentum.1", "2.0", "less than or equal to 1"],
        "2.0",
    ),
    (
        RECIPE,
        "methods.byol.momentum",
        [0.99],
        ["methods.byol.momentum", "[0.99] (a list)", "at least 2 items"],
        "momentum",
    ),
    (RECIPE, "methods.simclr.projector.batch_norm", "yes", ["projector.batch_norm", "'yes' (text)", "boolean"]),
    (RECIPE, "strategies.dimcl.weight", 1.5, ["strategies.dimcl.weight", "found 1.5", "less than or equal to 1"]),
    (RECIPE, "strategies.dimcl.weight", float("nan"), ["strategies.dimcl.weight", "nan"], "weight"),
    (RECIPE, "strategies.spps.high", 0.5, ["strategies.spps", "low 0.999 exceeds high 0.5"], "spps:"),
    (RECIPE, "strategies.spps.low", -0.5, ["strategies.spps", "low -0.5 is not a quantile", "[0, 1]"], "spps:"),
    (RECIPE, "strategies.gps.guide.kind", "pixel", ["strategies.gps.guide", "'pixel'", "'pixels'"], "guide:"),
    (RECIPE, "augmentations.strong.crop.scale", [1.0, 0.3], ["augmentations.strong.crop", "scale [1.0, 0.3]"], "crop:"),
    (RECIPE, "augmentations.strong.flip", 1.1, ["augmentations.strong.flip", "found 1.1", "less than or equal to 1"]),
    (SCALE, "backbones.default.kind", "convnt", ["backbones.default", "'convnt'", "'convnet'"], "default:"),
    (SCALE, "batch_sizes.default", [64], ["batch_sizes.default", "[64] (a list)", "a whole number"]),
    (SCALE, "epochs", {}, ["epochs", "at least 1 item"]),
    (SCALE, "epochs", 30, ["epochs", "found 30 (a whole number)"]),
    (SCALE, "comparable", "no", ["comparable", "'no' (text)", "boolean"]),
    (CONFIG, "scale", 3, ["scale", "3 (a whole number)"]),
    (CONFIG, "papers", 3, ["papers", "3 (a whole number)"]),
    (CONFIG, "seeds", 0, ["seeds", "0 seeds", "1 to 1000"]),
    (CONFIG, "seeds", 1001, ["seeds", "1001", "1 to 1000"]),
    (CONFIG, "seeds", True, ["seeds", "True"], "seeds"),
    (CONFIG, "seeds", [], ["seeds", "at least 1"]),
    (CONFIG, "seeds", [0, "x"], ["seeds.1", "'x' (text)", "a whole number"], "- x"),
    (CONFIG, "seeds", [4, 4], ["seeds", "[4, 4] names a seed twice"]),
    (CONFIG, "device", "coda", ["device", "'coda' is not a device", "did you mean 'cuda'"]),
    (CONFIG, "jobs", 0, ["jobs", "found 0", "greater than 0"]),
    (CONFIG, "jobs", "lots", ["jobs", "'lots'", "all"]),
    (DATASETS, "datasets.digits.source.kind", "digit", ["datasets.digits.source", "'digit'", "'digits'"], "source:"),
    (
        DATASETS,
        "datasets.digits.source.size",
        4,
        ["datasets.digits.source.size", "found 4", "equal to 8"],
    ),
    (PAPER, f"{TABLE}.claims.0.metric", "linar.top1", [f"{TABLE}.claims.0.metric", "'linar.top1'", "'linear.top1'"]),
    (PAPER, f"{TABLE}.columns.0.epochs", "100 ", [f"{TABLE}.columns.0.epochs", "'100 ' (text)", "a whole number"]),
    (PAPER, f"{TABLE}.rows", [], [f"{TABLE}.rows", "at least 1"]),
    (
        PAPER,
        "figures.mixco-with-without.kind",
        "withot",
        ["with-without.kind", "'withot'", "'with-without'"],
    ),
]


@pytest.mark.parametrize("case", WRONG_VALUES, ids=lambda case: f"{case[1]}={case[2]}")
def test_a_wrong_value_is_answered_with_file_line_key_value_and_remedy(root, case):
    file, key, value, words, *line = case
    edit(root, file, key, value)
    message = error(root)
    assert message.startswith(f"config/{file}:")
    assert [word for word in words if word not in message] == [], message
    assert (line or [key.split(".")[-1]])[0] in named_line(root, message)


@pytest.mark.parametrize(
    ("file", "key", "typo", "owner"),
    [
        (RECIPE, "training", "trainin", ""),
        (RECIPE, "methods.simclr", "simcrl", "methods."),
        (RECIPE, "methods.moco.queue", "quue", "methods.moco."),
        (RECIPE, "methods.byol.predictor.output", "ouput", "methods.byol.predictor."),
        (RECIPE, "training.optimizer.lr", "lrr", "training.optimizer."),
        (RECIPE, "training.schedule.warmup_epochs", "warmup", "training.schedule."),
        (RECIPE, "strategies.clae", "claee", "strategies."),
        (RECIPE, "strategies.gps.neighbours", "neighbors", "strategies.gps."),
        (RECIPE, "augmentations.strong.jitter.hue", "hhue", "augmentations.strong.jitter."),
        (SCALE, "batch_sizes", "batchsizes", ""),
        (SCALE, "backbones.default.widths", "width", "backbones.default."),
        (CONFIG, "jobs", "job", ""),
        (DATASETS, "datasets.digits.title", "titel", "datasets.digits."),
        (DATASETS, "datasets.digits.source.size", "siz", "datasets.digits.source."),
        (PAPER, f"{TABLE}.claims", "claim", f"{TABLE}."),
        (PAPER, f"{TABLE}.columns.0.backbone", "backbon", f"{TABLE}.columns.0."),
        (PAPER, f"{TABLE}.claims.0.better", "beter", f"{TABLE}.claims.0."),
    ],
)
def test_a_misspelt_key_is_answered_with_its_line_and_the_right_word(root, file, key, typo, owner):
    edit(root, file, key, name=typo)
    message = error(root)
    assert message.startswith(f"config/{file}:")
    assert f": {owner}{typo}: unknown key; did you mean '{key.split('.')[-1]}'?" in message
    assert len(message.splitlines()) == 1, "the right word is not missing too"
    assert f"{typo}:" in named_line(root, message)


@pytest.mark.parametrize(
    ("file", "key"),
    [
        (RECIPE, "strategies.gps.include_self"),
        (RECIPE, "evaluation.knn.temperature"),
        (RECIPE, "augmentations.weak.blur"),
        (SCALE, "threads"),
        (CONFIG, "device"),
        (PAPER, f"{TABLE}.title"),
    ],
)
def test_a_missing_key_is_named_since_nothing_has_a_hidden_default(root, file, key):
    edit(root, file, key)
    message = error(root)
    assert re.match(rf"config/{file}:\d+: {re.escape(key)}: missing; add it", message), message


def test_the_discriminating_word_of_a_choice_is_asked_for(root):
    edit(root, RECIPE, "training.optimizer.name")
    message = error(root)
    assert "training.optimizer" in message
    assert "'name' is missing; add it" in message
    assert "optimizer:" in named_line(root, message)


def test_many_mistakes_are_two_lines_and_a_count(root):
    for key in ("temperature", "queue", "momentum", "projector"):
        edit(root, RECIPE, f"methods.moco.{key}", "x")
    message = error(root)
    assert len(message.splitlines()) == 2
    assert message.endswith("(and 2 more)")


# --- contradictions between parts of a file, and between files ----------------------------------------------------

CONTRADICTIONS = {
    "an unknown scale": (CONFIG, "scale", "digit", ["scale: 'digit'", "did you mean 'digits'"]),
    "an unknown paper": (CONFIG, "papers", ["mixc"], ["papers: 'mixc'", "did you mean 'mixco'"]),
    "an unknown table": (CONFIG, "tables", ["gps-weka"], ["tables: 'gps-weka'", "did you mean 'gps-weak'"]),
    "an unknown recipe": (SCALE, "recipes.default", "digit", ["recipes.default: 'digit'", "did you mean 'digits'"]),
    "an unknown data set": (SCALE, "datasets.default", "digit", ["datasets", "'digit'", "did you mean 'digits'"]),
    "an unknown augmentation in the recipe": (
        *(RECIPE, "training.augmentation", "stronk"),
        ["training.augmentation: 'stronk'", "did you mean 'strong'"],
    ),
    "an unknown augmentation of a guide": (
        *(RECIPE, "strategies.spps.guide.augmentation", "weakk"),
        ["strategies.spps.guide.augmentation: 'weakk'", "did you mean 'weak'"],
    ),
    "an unknown augmentation in a table": (
        *(PAPER, f"{TABLE}.setting.augmentation", "weka"),
        [TABLE, "augmentation: 'weka'", "did you mean 'weak'"],
    ),
    "an unknown guide": (
        *(RECIPE, "strategies.spps.guide.method", "simcl"),
        ["guide.method", "'simcl'", "did you mean 'simclr'"],
    ),
    "a guide that needs a guide": (
        *(RECIPE, "strategies.spps.guide.method", "simclr+gps"),
        ["guide.method", "'simclr+gps' itself needs a guide"],
    ),
    "a planned guide in a recipe": (
        *(RECIPE, "strategies.spps.guide", {"kind": "checkpoint", "run": "x", "layer": "backbone"}),
        ["strategies.spps.guide", "write kind: run"],
    ),
    "one-hot codes where there are none": (
        *(RECIPE, "strategies.mixco.hard_codes", True),
        ["strategies.mixco.hard_codes", "predicts no codes", "methods.swav.strategies"],
    ),
    "a radius for the nearest": (
        RECIPE,
        "strategies.gps.radius",
        4.0,
        ["strategies.gps", "radius: null", "candidates: null"],
    ),
    "a number of neighbours for a ball": (
        *(RECIPE, "strategies.gps.choice", "farthest"),
        ["strategies.gps", "'farthest'", "needs radius", "neighbours: null"],
    ),
    "a temperature of mixed images where there is none": (
        *(RECIPE, "methods.byol.strategies", {"mixco": {"temperature": 0.1}}),
        ["methods.byol.strategies.mixco.temperature", "BYOL has no temperature"],
    ),
    "a column that changes a temperature that a row lacks": (
        *(
            "papers/dimcl.yaml",
            "tables.dimcl-frameworks",
            {
                "title": "x",
                "axes": "ours",
                "rows": ["byol+mixco"],
                "metrics": ["knn.top1"],
                "columns": [{"dataset": "CIFAR-10", "set": {"mixco.temperature": 0.1}}],
            },
        ),
        ["tables.dimcl-frameworks: set: 'mixco.temperature'", "BYOL has no temperature", "'byol+mixco'"],
    ),
    "no temperature of mixed images where there is one": (
        *(RECIPE, "strategies.mixco.temperature", None),
        ["strategies.mixco.temperature", "MoCo v2 has a softmax", "write a number"],
    ),
    "no temperature of the contrast of dimensions": (
        *(RECIPE, "strategies.dimcl.temperature", None),
        ["strategies.dimcl.temperature", "has a softmax", "write a number"],
    ),
    "a weight of the simple loss without the simple loss": (
        *(RECIPE, "strategies.dimcl.off_diagonal", -0.5),
        ["strategies.dimcl.off_diagonal: -0.5", "only the simple loss", "loss: simple"],
    ),
    "no momentum of a second set of batch norms": (
        *(RECIPE, "strategies.clae.batch_norm_momentum", None),
        ["strategies.clae.batch_norm_momentum", "write a number, or separate_norms: false"],
    ),
    "a start of no warm-up": (
        *(RECIPE, "training.schedule", {"name": "cosine", "warmup_epochs": 0, "final": 0.0, "initial": 0.1}),
        ["training.schedule", "initial 0.1", "warmup_epochs is 0"],
    ),
    "a strategy that a method misspells": (
        *(RECIPE, "methods.moco.strategies", {"mixo": {"temperature": 0.1}}),
        ["methods.moco.strategies.mixo", "not a pair strategy", "did you mean 'mixco'"],
    ),
    "a value that a method misspells": (
        *(RECIPE, "methods.moco.strategies", {"mixco": {"temprature": 0.1}}),
        ["methods.moco.strategies.mixco.temprature"],
    ),
    "a wrong value of a strategy under a method": (
        *(RECIPE, "methods.moco.strategies", {"mixco": {"temperature": -1.0}}),
        ["methods.moco.strategies.mixco.temperature", "greater than 0"],
    ),
    "a guide of a method's own": (
        *(RECIPE, "methods.moco.strategies", {"gps": {"guide": {"kind": "pixels"}}}),
        ["methods.moco.strategies.gps.guide", "the same for all methods"],
    ),
    "small crops larger than the image": (
        *(RECIPE, "methods.swav.small", {"count": 2, "size": 8, "scale": [0.5, 1.5]}),
        ["methods.swav.small", "must increase within (0, 1]"],
    ),
    "a recipe for no paper": (SCALE, "recipes.mixc", "digits", ["recipes: 'mixc'", "did you mean 'mixco'"]),
    "no recipe for a paper": (SCALE, "recipes", {"mixco": "digits"}, ["recipes: no entry for", "no 'default'"]),
    "a warm-up longer than the training": (SCALE, "epochs.default", 1, ["epochs: 1", "warm-up of 1", RECIPE]),
    "an odd batch with MixCo": (SCALE, "batch_sizes.default", 127, ["batch_sizes", "MixCo", "127 is odd", TABLE]),
    "a batch of one mixed image": (
        SCALE,
        "batch_sizes.default",
        2,
        ["batch_sizes", "one mixed image", "at least 4", TABLE],
    ),
    "no default in a map of the scale": (SCALE, "epochs", {"100": 30}, ["epochs", "there is no 'default'"]),
    "an unknown row": (PAPER, f"{TABLE}.rows.0", "mocco", [f"{TABLE}.rows", "'mocco'", "did you mean 'moco'"]),
    "a combination without a meaning": (PAPER, f"{TABLE}.rows.0", "moco+dimcl", [f"{TABLE}.rows", "mocoplus+dimcl"]),
    "a claim about no row": (
        *(PAPER, f"{TABLE}.claims.0.better", "moco+mixc"),
        [f"{TABLE}.claims[0]", "'moco+mixc'", "did you mean 'moco+mixco'"],
    ),
    "a claim about no metric": (
        PAPER,
        f"{TABLE}.claims.0.metric",
        "online.top1",
        [f"{TABLE}.claims[0]", "'online.top1'", "knn"],
    ),
    "a claim about no column": (
        *(PAPER, f"{TABLE}.claims.0.where", {"backbone": "resnet19"}),
        [f"{TABLE}.claims[0]", "where matches no column"],
    ),
    "a comparison with no column": (
        *(PAPER, f"{TABLE}.claims.3.larger_than_in", {"backbone": "resnet51"}),
        [f"{TABLE}.claims[3]", "larger_than_in matches no column"],
    ),
    "a figure of no table": (
        *(PAPER, "figures.mixco-curves.table", "mixco-tinyimage"),
        ["figures.mixco-curves.table", "'mixco-tinyimage'", "did you mean 'mixco-tinyimagenet'"],
    ),
    "a paper of no strategy": (PAPER, "strategy", "mixxo", ["strategy", "'mixxo'", "did you mean 'mixco'"]),
    "a row twice": (PAPER, f"{TABLE}.rows.1", "moco", [f"{TABLE}.rows", "'moco'"]),
}


@pytest.mark.parametrize("case", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_contradiction_is_answered_with_file_key_value_and_remedy(root, case):
    file, key, value, words = case
    edit(root, file, key, value)
    message = error(root)
    assert message.startswith(f"config/{file}:")
    assert [word for word in words if word not in message.splitlines()[0]] == [], message


@pytest.mark.parametrize("name", ["an unknown scale", "an unknown paper", "an unknown recipe"])
def test_a_name_that_stands_for_no_file_is_answered_with_its_line(root, name):
    file, key, value, _ = CONTRADICTIONS[name]
    edit(root, file, key, value)
    line = named_line(root, error(root))
    assert line.startswith(f"{key.split('.')[0]}:") or value[0] in line


@pytest.mark.parametrize("key", ["training.augmentation", "strategies.spps.guide.augmentation"])
def test_an_augmentation_that_the_recipe_lacks_is_answered_with_its_line(root, key):
    edit(root, RECIPE, key, "stronk")
    assert "stronk" in named_line(root, error(root))


def test_a_table_name_may_not_stand_in_two_papers(root):
    edit(root, PAPER, TABLE, name="gps-weak")
    assert "'gps-weak' is defined in two papers" in error(root)


def test_a_plan_needs_no_data_and_says_which_are_lacking():
    config = read_config(PROJECT, {"scale": "digits"})
    before, after = make_plan(config, {}), make_plan(config, {"digits": "d" * 64})
    assert (before.unprepared, after.unprepared) == (["digits"], [])
    assert before.datasets_of(before.selected) == ["digits"]
    assert len(before.runs) == len(after.runs)
    assert not before.runs.keys() & after.runs.keys(), "provisional ids are never those of a training"


def test_chosen_tables_that_belong_to_other_papers_are_a_contradiction(root):
    edit(root, CONFIG, "papers", ["mixco"])
    edit(root, CONFIG, "tables", ["gps-weak"])
    message = error(root)
    assert re.match(r"config/config.yaml:\d+: tables:", message)
    assert "correct either list" in message


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("scale", "digit", "'digit'|did you mean 'digits'"),
        ("papers", "mixc", "'mixc'|did you mean 'mixco'"),
        ("tables", "gps-weka", "'gps-weka'|did you mean 'gps-weak'"),
        ("seeds", "0,x", "'x' (text)|a whole number"),
        ("seeds", "0", "0 seeds|1 to 1000"),
        ("device", "coda", "'coda'|did you mean 'cuda'"),
        ("jobs", "lots", "'lots'|all"),
        ("seed", "5", "unknown key|did you mean 'seeds'"),
    ],
)
def test_a_mistake_on_the_command_line_is_not_blamed_on_a_file(root, key, value, words):
    message = error(root, {key: value})
    assert message.startswith(f"command line: {key}")
    assert [word for word in words.split("|") if word not in message] == []


def test_a_choice_of_nothing_on_the_command_line_is_not_blamed_on_a_file(root):
    assert error(root, {"papers": "mixco", "tables": "gps-weak"}).startswith("command line: ")


def test_gpu_is_answered_with_cuda_and_not_with_cpu(root):
    assert "did you mean 'cpu'" not in error(root, {"device": "gpu"})


# --- what is not YAML, and what YAML can say although no configuration means it -----------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("title: Digits", "title: [", "2"),
        ("    queue: 1024", "\tqueue: 1024", None),
        ("title: Digits", "title: *nobody", "1"),
        ("title: Digits", "title: !!python/name:os.system x", "1"),
        ("title: Digits", "title: a: b", "1"),
    ],
)
def test_a_file_that_is_not_yaml_is_answered_with_its_line(root, old, new, line):
    replace(root, RECIPE, old, new)
    assert re.match(rf"config/{RECIPE}:{line or '[0-9]+'}: not readable as YAML: ", error(root))


@pytest.mark.parametrize(
    ("file", "old", "new", "key"),
    [
        (RECIPE, "    queue: 1024", "    queue: 1024\n    queue: 512", "queue"),
        (RECIPE, "title: Digits", "title: Digits\ntitle: Digits", "title"),
        (SCALE, "256: 64", '256: 64, "256": 32', "256"),
        (PAPER, "metrics: [", "metrics: [knn]\n    metrics: [", "metrics"),
    ],
)
def test_a_key_that_stands_twice_is_answered_with_its_line(root, file, old, new, key):
    replace(root, file, old, new)
    message = error(root)
    assert message.startswith(f"config/{file}:")
    assert f"'{key}' is given twice; keep one" in message
    assert key in named_line(root, message)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n", "42\n"])
def test_a_file_without_keys_is_answered_with_what_was_found(root, text):
    (root / "config" / RECIPE).write_text(text)
    assert error(root).startswith(f"config/{RECIPE}: expected keys and values, found ")


@pytest.mark.parametrize("file", [CONFIG, DATASETS])
def test_a_missing_file_names_how_to_get_it_back(root, file):
    (root / "config" / file).unlink()
    assert error(root) == f"config/{file}: missing; restore it, for example with `git checkout config/{file}`"


@pytest.mark.parametrize("content", [b"title: \x00", b"title: \xff\xfe"])
def test_a_file_that_is_not_text_is_answered(root, content):
    (root / "config" / RECIPE).write_bytes(content)
    assert error(root).startswith(f"config/{RECIPE}: not readable as YAML")


@pytest.mark.parametrize("value", [".inf", "1e400"])
def test_an_infinite_value_is_refused_while_reading(root, value):
    replace(root, RECIPE, "lr: 1.0e-3", f"lr: {value}")
    assert "training.optimizer.lr" in error(root)


@pytest.mark.parametrize("title", ["{{ scale }}", "{[a]: 1}", "!!timestamp 2020-13-45"])
def test_yaml_that_python_cannot_hold_is_answered_with_file_and_line(root, title):
    replace(root, RECIPE, "title: Digits", f"title: {title}")
    assert error(root).startswith(f"config/{RECIPE}:1: ")


def test_text_with_line_breaks_still_makes_at_most_two_lines(root):
    edit(root, RECIPE, "training.precision", "a\nb\nc\nd")
    assert "training.precision" in error(root)


def test_a_blur_whose_range_falls_is_refused_as_a_crop_is(root):
    edit(root, RECIPE, "augmentations.strong.blur", {"probability": 0.5, "sigma": [2.0, 0.1]})
    assert "augmentations.strong.blur" in error(root)


# --- a column's own changes to the recipe -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mixco.temperature", 0.05),
        ("gps.neighbours", 20),
        ("training.optimizer.lr", 0.003),
        ("optimizer.lr", 0.003),
        ("strategies.mixco.alpha", 1.0),
        ("spps.guide", {"kind": "pixels"}),
    ],
)
def test_a_column_may_change_any_value_of_the_recipe(root, key, value):
    edit(root, PAPER, f"{TABLE}.columns.0.set", {key: value})
    shown = value["kind"] if isinstance(value, dict) else value
    assert plan(root, {"papers": "mixco"}).tables["mixco-tinyimagenet"]["columns"][0]["settings"][key] == shown


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("mixco.temperatur", 0.05, ["mixco.temperatur", "did you mean 'temperature'"]),
        ("mixc.temperature", 0.05, ["mixc.temperature", "did you mean 'mixco'"]),
        ("mixco.temperature.x", 0.05, ["mixco.temperature.x"]),
        ("mixco.temperature", -1, ["mixco.temperature", "found -1"]),
        ("mixco.temperature", [1], ["mixco.temperature", "[1] (a list)"]),
        ("mixco", 1, ["mixco", "1 (a whole number)"]),
        ("evaluation.knn.neighbours", 3, ["evaluation.knn.neighbours"]),
    ],
)
def test_a_column_that_changes_what_cannot_be_changed_names_paper_table_key_and_value(root, key, value, words):
    edit(root, PAPER, f"{TABLE}.columns.0.set", {key: value})
    message = error(root)
    assert message.startswith(f"config/{PAPER}")
    assert [word for word in [TABLE, "set", *words] if word not in message.splitlines()[0]] == [], message


# --- method labels ------------------------------------------------------------------------------------------------


def test_the_order_of_the_strategies_does_not_matter():
    label = parse_label("byol+dimcl+gps")
    assert label == parse_label("byol+gps+dimcl")
    assert str(label) == "byol+gps+dimcl"
    assert label.title == "BYOL + GPS + DimCL"


@pytest.mark.parametrize("base", METHODS)
def test_a_base_method_alone_is_a_label(base):
    assert str(parse_label(base)) == base
    assert parse_label(base).strategies == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("simcl", ["'simcl' is not a base method", "did you mean 'simclr'"]),
        ("gps", ["'gps' is not a base method"]),
        ("", ["'' is not a base method"]),
        ("simclr+mixc", ["'mixc' is not a pair strategy", "did you mean 'mixco'"]),
        ("simclr+byol", ["'byol' is not a pair strategy"]),
        ("simclr+", ["'' is not a pair strategy"]),
        ("simclr+gps+gps", ["'gps' is given twice; write it once"]),
        ("moco+dimcl", ["has no meaning", "write mocoplus+dimcl"]),
        ("moco+gps+dimcl", ["has no meaning", "write mocoplus+dimcl"]),
    ],
)
def test_a_label_that_means_nothing_is_answered_with_the_right_word(text, words):
    with pytest.raises(UserError) as caught:
        parse_label(text)
    assert [word for word in [f"'{text}'", *words] if word not in str(caught.value)] == []


def test_two_spellings_of_one_method_are_not_two_rows_of_a_table(root):
    edit(root, PAPER, f"{TABLE}.rows", ["moco", "moco+mixco", "simclr+gps+mixco", "simclr+mixco+gps"])
    edit(root, PAPER, f"{TABLE}.claims", [])
    assert f"{TABLE}.rows" in error(root)
