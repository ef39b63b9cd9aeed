"""The recipes that ship: they can be read, and the papers' values have their sources beside them."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from sslpairs.config.reading import load_yaml, read_config
from sslpairs.config.recipes import Recipe
from sslpairs.methods.base import TrainProgress
from sslpairs.methods.build import build_method
from sslpairs.pairs.build import build_pairs
from sslpairs.plan.planner import make_plan
from sslpairs.plan.spec import RunSpec
from sslpairs.training.optimization import build_optimizer
from sslpairs.training.step import train_step

PROJECT = Path(__file__).resolve().parents[1]
RECIPES = sorted((PROJECT / "config/recipes").glob("*.yaml"))

# The methods that each paper's own tables name.
PAPERS = {
    "spps": ["simclr", "moco", "simsiam"],
    "mixco": ["moco", "simclr", "swav"],
    "dimcl": ["simclr", "mocoplus", "byol", "simsiam", "barlowtwins", "vicreg"],
    "gps": ["simclr", "byol", "nnclr", "vicreg", "barlowtwins"],
    "clae": ["plain", "uel", "simclr"],
}
PAIRS = [(paper, base) for paper, bases in PAPERS.items() for base in bases]

SOURCE = re.compile(r"\b(MIXCO|CLAE|DIMCL|GPS|SOLO) \w[\w./-]*\.\w+|\bours\b|\babstract\b|\bfrom memory\b")
NUMBER = re.compile(r"(?<![\w])\d")


def recipe(name: str) -> Recipe:
    path = PROJECT / f"config/recipes/{name}.yaml"
    return Recipe.model_validate(load_yaml(path, PROJECT))


def unsourced(text: str) -> list[str]:
    """Lines with a number that no source covers.

    A source covers its own line and, behind a key, what is indented below it; on a line of its own it covers what
    follows, down to the next comment of its indentation or to the end of its block.
    """
    covers, missing, above, skipping = [], [], False, False
    for number, line in enumerate(text.splitlines(), 1):
        content, comment = [*re.split(r"(?:^|\s)#", line, maxsplit=1), ""][:2]
        depth = len(line) - len(line.lstrip())
        if depth == 0 and content:
            skipping = bool(re.match(r"(title|about):", content))
        if skipping or not line.strip():
            continue
        sourced = bool(SOURCE.search(comment))
        if not content.strip():
            if not above:
                covers = [cover for cover in covers if cover < depth]
            if sourced:
                covers.append(depth)
            above = True
            continue
        above = False
        covers = [cover for cover in covers if cover <= depth]
        if NUMBER.search(content) and not sourced and not covers:
            missing.append(f"{number}: {line.strip()}")
        if sourced and content.rstrip().endswith(":"):
            covers.append(depth + 1)
    return missing


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_ships_can_be_read(path):
    assert Recipe.model_validate(load_yaml(path, PROJECT)).about.strip()


@pytest.mark.parametrize("paper", [*PAPERS, "sololearn"])
def test_every_number_of_a_papers_recipe_has_a_source(paper):
    assert unsourced((PROJECT / f"config/recipes/{paper}.yaml").read_text()) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a: 1  # ours", []),
        ("a: 1", [1]),
        ("a: 1  # because", [1]),
        ("a: 1  # CLAE", [1]),
        ("a: 1  # CLAE SimCLR/main.py:25", []),
        ("a: {name: resnet18}", []),
        ("title: 1\nabout: >\n  2 of 3\na: 1", [4]),
        ("# ours: two\na: 1\nb: 2\n# of another kind\nc: 3", [5]),
        ("# ours: it takes\n# two lines\na: 1", []),
        ("a:  # ours\n  b: 1\nc: 2", [3]),
        ("a:\n  # ours\n  b: 1\nc: 2", [4]),
        ("a: 1  # ours\nb: 2", [2]),
        ("a:\n  b: 1\n  # ours\n  c:\n    d: 1\n  e: 1", [2]),
    ],
)
def test_a_missing_source_is_noticed(text, lines):
    assert [int(line.split(":")[0]) for line in unsourced(text)] == lines


@pytest.mark.parametrize("paper", PAPERS)
def test_a_papers_recipe_says_that_it_has_not_been_trained(paper):
    assert "Nothing was trained with this recipe yet" in " ".join(recipe(paper).about.split())


@pytest.mark.parametrize(("paper", "base"), PAIRS, ids="-".join)
def test_every_method_of_a_papers_table_meets_its_strategy(paper, base):
    settings = recipe(paper)
    assert getattr(settings.methods, base) is not None
    assert settings.strategy(base, paper) is not None


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """All tables with each paper's own recipe, on the digits."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "config", root / "config")
    scale = root / "config/scales/digits.yaml"
    recipes = f"recipes: {{{', '.join(f'{paper}: {paper}' for paper in PAPERS)}, default: digits}}"
    text = re.sub(r"recipes: .*", recipes, scale.read_text())
    scale.write_text(re.sub(r"epochs: .*", "epochs: {default: 30}", text))
    return make_plan(read_config(root, {"seeds": [0]}), {"digits": "d" * 64})


@pytest.mark.parametrize("paper", PAPERS)
def test_every_row_of_a_papers_tables_trains_a_step_with_the_papers_recipe(paper, planned):
    runs = {
        cell["row"]: cell["replicates"][0]["run"]
        for table in planned.tables.values()
        if table["paper"] == paper
        for cell in table["cells"]
    }
    assert {row.split("+")[0] for row in runs} == set(PAPERS[paper])
    small = {"backbone": {"kind": "convnet", "widths": [8]}}
    for run in runs.values():
        spec = RunSpec.model_validate(planned.runs[run]["spec"] | small)
        method, pairs = build_method(spec, 3, 32).train(), build_pairs(spec)
        for strategy in pairs:
            strategy.wrap(method)
        optimizer = build_optimizer(
            spec.optimizer, method.online_modules(), spec.batch_size, method.constant_rate_modules()
        )
        draws = torch.Generator().manual_seed(0)
        views = [torch.randn(4, 3, 8, 8, generator=draws) for _ in range(2)]
        views += [torch.randn(4, 3, 4, 4, generator=draws)] * (method.small.count if method.small else 0)
        before = [p.clone() for p in method.backbone.parameters()]
        loss, _ = train_step(method, pairs, views, optimizer, dict.fromkeys(spec.active, draws), TrainProgress(0, 10))
        assert loss.isfinite()
        assert not all(torch.equal(a, b) for a, b in zip(before, method.backbone.parameters(), strict=True))


@pytest.mark.parametrize("paper", PAPERS)
def test_tables_about_augmentation_find_a_strong_and_a_weak_one(paper):
    augmentations = recipe(paper).augmentations
    assert augmentations["strong"].crop
    weak = augmentations["weak"]
    assert (weak.crop, weak.jitter, weak.blur) == (None, None, None)
    assert (weak.flip, weak.rotation, weak.grayscale, weak.solarize) == (0.5, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("base", "temperature", "mixed"), [("simclr", 0.5, 0.5), ("moco", 0.2, 0.05), ("swav", 0.1, 0.1)]
)
def test_mixco_has_a_temperature_of_its_own_for_each_method(base, temperature, mixed):
    settings = recipe("mixco")
    strategy = settings.strategy(base, "mixco")
    assert getattr(settings.methods, base).temperature == temperature
    assert strategy.temperature == mixed
    assert (strategy.weight, strategy.alpha, strategy.hard_codes) == (1.0, None, False)


def test_mixcos_optimisers_are_those_of_the_scripts():
    settings = recipe("mixco")
    swav = settings.methods.swav.training
    assert (settings.training.optimizer.lr, settings.training.optimizer.weight_decay) == (0.15, 1e-6)
    assert (settings.training.schedule.hold_epochs, settings.training.schedule.span_epochs) == (10, 100)
    assert settings.methods.moco.training.optimizer.lr == 0.015
    assert (settings.methods.moco.queue, settings.methods.moco.momentum) == (65536, [0.999, 0.999])
    assert swav.optimizer.lr * swav.schedule.final == pytest.approx(0.0006)
    assert (swav.optimizer.clip, swav.optimizer.adapt_vectors, swav.optimizer.trust_coefficient) == (False, True, 0.001)
    assert (settings.methods.swav.prototypes, settings.methods.swav.projector.output) == (400, 64)
    assert settings.evaluation.linear.optimizer.lr == 3.0


@pytest.mark.parametrize("base", PAPERS["dimcl"])
def test_dimcl_weighs_a_tenth_for_every_method(base):
    strategy = recipe("dimcl").strategy(base, "dimcl")
    assert (strategy.weight, strategy.temperature) == (0.1, 0.1)


@pytest.mark.parametrize(("paper", "first"), [("dimcl", 0.003), ("gps", 0.00003)])
def test_every_warm_up_starts_at_the_same_rate(paper, first):
    settings = recipe(paper)
    for base in PAPERS[paper]:
        change = getattr(settings.methods, base).training
        optimizer = (change and change.optimizer) or settings.training.optimizer
        schedule = (change and change.schedule) or settings.training.schedule
        assert schedule.warmup_epochs == 10
        assert optimizer.reference_batch == 256
        assert optimizer.lr * schedule.initial == pytest.approx(first), base


def test_dimcls_methods_are_those_of_the_scripts():
    methods = recipe("dimcl").methods
    assert methods.simsiam.second_norm
    assert methods.simsiam.constant_predictor_rate
    assert (methods.mocoplus.queue, methods.mocoplus.momentum) == (32768, [0.99, 0.999])
    assert (methods.barlowtwins.lamb, methods.barlowtwins.scale) == (0.0051, 0.1)
    assert (methods.vicreg.sim, methods.vicreg.var, methods.vicreg.cov) == (25.0, 25.0, 1.0)
    assert methods.byol.projector.hidden == [4096]


def test_gps_draws_the_nearest_other_image():
    settings = recipe("gps")
    gps = settings.strategies.gps
    assert (gps.choice, gps.neighbours, gps.include_self, gps.candidates) == ("nearest", 1, False, None)
    assert settings.augmentations["weak"].flip == 0.5
    assert settings.methods.nnclr.queue == 65536


def test_claes_attack_is_that_of_the_scripts():
    settings = recipe("clae")
    clae = settings.strategies.clae
    assert (clae.epsilon, clae.weight, clae.batch_norm_momentum, clae.clip) == (0.03, 1.0, 0.01, False)
    bases = [settings.methods.simclr, settings.methods.uel, settings.methods.plain]
    assert [base.temperature for base in bases] == [0.5, 0.1, 0.1]
    assert settings.methods.uel.training == settings.methods.plain.training
    assert settings.methods.uel.training.schedule.factors == [0.1, 0.05, 0.01]


def test_no_number_of_spps_is_said_to_be_the_papers():
    text = (PROJECT / "config/recipes/spps.yaml").read_text()
    assert not re.search(r"#.*\b(MIXCO|CLAE|DIMCL|GPS|SOLO) ", text)
    spps = recipe("spps").strategies.spps
    assert (spps.mode, spps.low, spps.high) == ("interval", 0.97, 0.99)
