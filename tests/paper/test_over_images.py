"""Test images beside seeds: the analysis of variance, what it does to verdicts, and tables with and without answers to single images."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up import claim, column, digest, plan
from scipy import stats

from sslpairs.errors import UserError
from sslpairs.files import write_record
from sslpairs.paper.claims import over_images
from sslpairs.paper.formats.csv import claims_csv
from sslpairs.paper.formats.markdown import to_markdown
from sslpairs.paper.overview import Overview
from sslpairs.paper.statistics import (
    Part,
    images_part,
    images_suffice,
    paired,
    pool,
    seeds_needed,
    t_test,
    t_tests,
    total,
)
from sslpairs.paper.tables import build_table
from sslpairs.plan.answers import decode, encode
from sslpairs.plan.evaluations import Evaluation

ROWS = ["simclr", "simclr+gps", "byol", "byol+gps"]


def components(d: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of seeds, images and the residual, cell by cell."""
    seeds, images = d.shape
    mean = sum(d[s, i] for s in range(seeds) for i in range(images)) / (seeds * images)
    by_seed = [sum(d[s, i] for i in range(images)) / images for s in range(seeds)]
    by_image = [sum(d[s, i] for s in range(seeds)) / seeds for i in range(images)]
    rest = sum((d[s, i] - by_seed[s] - by_image[i] + mean) ** 2 for s in range(seeds) for i in range(images))
    return (
        images * sum((one - mean) ** 2 for one in by_seed) / (seeds - 1),
        seeds * sum((one - mean) ** 2 for one in by_image) / (images - 1),
        rest / ((seeds - 1) * (images - 1)),
    )


@pytest.mark.parametrize(("seeds", "images"), [(2, 2), (3, 40), (5, 97)])
@pytest.mark.parametrize("spread", [0.0, 30.0])
def test_the_parts_are_those_of_the_analysis_of_variance(seeds, images, spread):
    rng = np.random.default_rng(seeds)
    d = rng.normal(1, 40, (seeds, images)) + rng.normal(0, spread, images) + rng.normal(0, 5, (seeds, 1))
    ms_seeds, ms_images, ms_rest = components(d)
    found = images_part(d)
    assert found.variance == pytest.approx(max(0, ms_images - ms_rest) / (seeds * images))
    assert found.df == images - 1
    contrast = paired(list(d.mean(1)))
    assert contrast.variance / seeds == pytest.approx(ms_seeds / (seeds * images)), "the seeds' part is that of before"


def test_the_variance_of_a_mean_over_seeds_and_images_is_found():
    rng = np.random.default_rng(3)
    images, seeds, means, estimates = 60, 4, [], []
    for _ in range(800):
        d = (
            30 * rng.standard_normal((seeds, images))
            + 20 * rng.standard_normal(images)
            + 2 * rng.standard_normal((seeds, 1))
        )
        means.append(d.mean())
        estimates.append(paired(list(d.mean(1))).variance / seeds + images_part(d).variance)
    assert np.mean(estimates) == pytest.approx(np.var(means), rel=0.1)
    assert np.mean(estimates) == pytest.approx(20**2 / images + 2**2 / seeds + 30**2 / (images * seeds), rel=0.05)


def test_parts_add_up_with_satterthwaites_degrees_of_freedom():
    # Welch's test is the same rule: two variances of means.
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 4), rng.normal(0, 3, 9)
    found = total([Part(a.var(ddof=1) / 4, 3), Part(b.var(ddof=1) / 9, 8)])
    assert found.df == pytest.approx(stats.ttest_ind(a, b, equal_var=False).df)
    assert total([Part(2.0, 5), Part(0.0, 400)]) == Part(2.0, 5)
    assert total([]).variance == 0


def test_the_test_is_that_of_both_errors():
    contrast = paired([1.0, 2.0, 3.0])
    found = t_test(replace(contrast, images=(Part(0.5, 499), Part(0.25, 99))))
    both = total([Part(1 / 3, 2), Part(0.5, 499), Part(0.25, 99)])
    error = math.sqrt(1 / 3 + 0.75)
    assert (found.sd, found.df) == (1, both.df)
    assert (found.se_seeds, found.se_images) == (pytest.approx(math.sqrt(1 / 3)), pytest.approx(math.sqrt(0.75)))
    assert found.p == pytest.approx(2 * stats.t.sf(2 / error, both.df))
    assert found.p_none == pytest.approx(stats.t.cdf(1 / error, both.df))
    assert found.high - 2 == pytest.approx(stats.t.ppf(0.975, both.df) * error)
    alone = t_test(contrast)
    assert alone == replace(t_test(replace(contrast, images=(Part(0.0, 499),))), contrast=contrast, se_images=None)


def test_seeds_do_not_make_up_for_too_few_images():
    def power(n, effect, sd, part):
        both = total([Part(sd**2 / n, n - 1), part])
        bound = stats.t.ppf(0.975, both.df)
        return stats.nct.sf(bound, both.df, effect / math.sqrt(both.variance))

    part = Part(0.04, 499)  # of a standard error of 0.2 points
    needed = seeds_needed(1.0, 0.8, [part])
    assert power(needed, 1.0, 0.8, part) >= 0.8 > power(needed - 1, 1.0, 0.8, part)
    assert needed > seeds_needed(1.0, 0.8)
    assert seeds_needed(0.5, 0.8, [part]) is None, "2.8 standard errors are needed, and these are 2.5"
    assert (images_suffice(0.5, [part]), images_suffice(0.6, [part]), images_suffice(0.1, [])) == (False, True, True)
    assert seeds_needed(1.0, 0.8, [Part(0.0, 499)]) == seeds_needed(1.0, 0.8)


def test_pooled_gains_have_the_images_in_both_intervals():
    gains = [paired(list(one)) for one in np.random.default_rng(5).normal([[3.0], [0.5], [1.0]], 0.4, (3, 5))]
    alone, both = pool(gains), pool(gains, (Part(0.3, 499),))
    assert both.tested.se_images == pytest.approx(math.sqrt(0.3))
    assert both.tested.contrast.effect == alone.tested.contrast.effect
    assert both.tested.high - both.tested.low > alone.tested.high - alone.tested.low
    assert both.low + both.high == pytest.approx(alone.low + alone.high)


@pytest.mark.parametrize("seeds", [3, 5])
def test_of_claims_without_an_effect_few_are_shown_on_other_images(seeds):
    """Tables of five claims, 500 images drawn anew: methods differ in which images they know, as much as seeds do, but not in how many."""
    rng = np.random.default_rng(1)
    wrong = {"over seeds alone": 0, "over both": 0}
    for _ in range(150):
        image = 1.3 + rng.standard_normal((5, 1, 1, 500), np.float32)
        image = image + 0.4 * rng.standard_normal((5, 2, 1, 500), np.float32)
        seed = 0.03 * rng.standard_normal((5, 2, seeds, 1), np.float32)
        right = image + seed + 0.3 * rng.standard_normal((5, 2, seeds, 500), np.float32) > 0
        differences = 100 * (right[:, 1].astype(float) - right[:, 0])
        alone = [paired(list(one.mean(1)), 0.2 / math.sqrt(6)) for one in differences]
        both = [replace(one, images=(images_part(d),)) for one, d in zip(alone, differences, strict=True)]
        for key, contrasts in zip(wrong, (alone, both), strict=True):
            wrong[key] += sum(found.p < 0.05 for found in t_tests(contrasts))
    rates = {key: count / 750 for key, count in wrong.items()}
    assert rates["over seeds alone"] > 0.12
    assert rates["over both"] < 0.07


# --- tables --------------------------------------------------------------------------------------------------------


def answer(root, made, metrics=("linear.top1",), rows=ROWS, images=500, of=1, content=None):
    """Give evaluations answers that average to about their values: each image is as hard for all, and seeds differ a little."""
    for cell in made["cells"]:
        for one in cell["replicates"] if cell["row"] in rows else ():
            path = root / "results" / "evals" / f"{one['evaluation']}.json"
            value = json.loads(path.read_text())
            for name in metrics:
                protocol, metric = name.split(".")
                level = value["protocols"][protocol]["last"] / 100
                hard = np.random.default_rng(0).random(images)
                noise = 0.03 * np.random.default_rng(int(digest(one["run"])[:8], 16)).standard_normal((of, images))
                right = (hard + noise < level).sum(0)
                value.setdefault("answers", {}).setdefault(protocol, {})[metric] = encode(right, of)
                value["protocols"][protocol]["last"] = 100 * right.sum().item() / (of * images)
            write_record(path, value | ({"content": content} if content else {}))


def test_a_claim_whose_cells_have_answers_is_tested_over_both(tmp_path):
    made = plan(tmp_path, ROWS, claims=[claim(), claim("byol+gps", "byol")], metrics=["linear.top1", "knn.top1"])
    answer(tmp_path, made)
    table = build_table(made, tmp_path)
    both, alone = (table.claims[0].judged[metric].tested for metric in ("linear.top1", "knn.top1"))
    assert both.se_images > 0
    assert both.df > 2
    assert (alone.contrast.images, alone.se_images) == (None, None)
    assert alone.se_seeds > 0
    rows = {name: [] for name in ("simclr+gps", "simclr")}
    for cell in made["cells"][:2]:
        for one in cell["replicates"]:
            found = Evaluation.read(tmp_path / f"results/evals/{one['evaluation']}.json", tmp_path, with_answers=True)
            rows[cell["row"]].append(decode(found.answers["linear"]["top1"]))
    d = 100.0 * (np.array(rows["simclr+gps"], float) - np.array(rows["simclr"], float))
    _, ms_images, ms_rest = components(d)
    assert both.se_images**2 == pytest.approx(max(0, ms_images - ms_rest) / d.size)
    assert both.contrast.differences == pytest.approx(d.mean(1))
    text = to_markdown(table)
    assert "t-tests over paired seeds and test images, with" in text
    assert "Over seeds alone: no answers per image are on record for kNN." in text
    frame = pd.read_csv(io.StringIO(claims_csv(table)))
    assert frame.se_images.isna().tolist() == [False, True] * 2
    assert frame.se_seeds[0] == pytest.approx(both.se_seeds, abs=1e-4)
    overview = pd.read_csv(io.StringIO(Overview([table]).csv()))
    pooled = overview[overview.kind == "pooled"]
    assert pooled.se_images.isna().tolist() == [False, True]
    assert (overview[overview.kind == "claim"].se_images.isna() == frame.se_images.isna()).all()


def test_results_of_before_are_tested_over_seeds_alone_and_say_so(tmp_path):
    table = build_table(plan(tmp_path, ROWS, claims=[claim(), claim("byol+gps", "byol")]), tmp_path)
    assert all(one.tested.se_images is None for each in table.claims for one in each.judged.values())
    text = to_markdown(table)
    assert "t-tests over paired seeds, with" in text
    assert "Over seeds alone: no answers per image are on record for linear, online, kNN." in text
    assert "on record for linear" not in to_markdown(build_table(plan(tmp_path, ROWS), tmp_path)), "no claims"


def test_where_one_cell_lacks_answers_the_other_claims_keep_theirs(tmp_path):
    made = plan(tmp_path, ROWS, claims=[claim(), claim("byol+gps", "byol")], metrics=["linear.top1"])
    answer(tmp_path, made, rows=ROWS[:3])
    table = build_table(made, tmp_path)
    assert [one.headline.tested.se_images is None for one in table.claims] == [False, True]
    assert "are on record for linear (1 of 2 claims)." in to_markdown(table)
    assert table.groups[0].pooled.tested.se_images is None


GAINS = [
    *({"row": row, "column": "c0", "weight": weight} for row, weight in (("simclr+gps", 1), ("simclr", -1))),
    *({"row": row, "column": "c1", "weight": -weight} for row, weight in (("simclr+gps", 1), ("simclr", -1))),
]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_claim_over_two_columns_pairs_images_only_where_these_are_the_same(tmp_path, elsewhere):
    made = plan(
        tmp_path, ROWS[:2], [column(0, 64), column(1, 128)], claims=[claim(terms=GAINS)], metrics=["linear.top1"]
    )
    for place in ("c0", "c1"):
        cells = [cell for cell in made["cells"] if cell["column"] == place]
        other = elsewhere and place == "c1"
        answer(tmp_path, made | {"cells": cells}, images=300 if other else 500, content="other" if other else None)
    parts = build_table(made, tmp_path).claims[0].headline.contrast.images
    assert [part.df for part in parts] == ([499, 299] if elsewhere else [499])


def test_images_of_two_data_sets_add_a_part_each():
    rng = np.random.default_rng(4)
    answers, expected = {}, []

    class Known:
        def __init__(self, data, shares):
            self.data, self.shares = data, lambda: shares

    for place, count in (("c0", 50), ("c1", 30)):
        right = {row: rng.random((3, count)) for row in ("simclr+gps", "simclr")}
        for row, found in right.items():
            answers[row, place, "m"] = {seed: Known(place, found[seed]) for seed in range(3)}
        expected.append(images_part(100 * (right["simclr+gps"] - right["simclr"])))
    found = over_images(GAINS, "m", answers, 3)
    assert [part.variance for part in found] == pytest.approx([part.variance for part in expected])
    assert over_images(GAINS, "m", answers, 4) is None, "one seed has no answers"
    answers["simclr", "c1", "m"][2] = Known("c1", rng.random(31))
    assert over_images(GAINS, "m", answers, 3) is None, "seeds of other images"


def test_one_seed_says_nothing_of_images(tmp_path):
    made = plan(tmp_path, ROWS, seeds=1, claims=[claim()], metrics=["linear.top1"])
    answer(tmp_path, made)
    text = to_markdown(build_table(made, tmp_path))
    assert "undecided (one seed)" in text
    assert "Over seeds alone" not in text


def test_a_claim_that_no_number_of_seeds_decides_says_that_images_are_few(tmp_path):
    made = plan(tmp_path, ROWS[:2], claims=[claim()], metrics=["linear.top1"])
    for cell, wrong in zip(made["cells"], ([0, 1], [5, 6, 7, 8, 9]), strict=True):
        for one in cell["replicates"]:
            path = tmp_path / "results" / "evals" / f"{one['evaluation']}.json"
            value = json.loads(path.read_text())
            right = np.ones(40, bool)
            right[[*wrong, *range(20, 20 + one["seed"] * (cell["row"] == "simclr"))]] = False
            value["protocols"]["linear"]["last"] = 100 * right.mean()
            write_record(path, value | {"answers": {"linear": {"top1": encode(right)}}})
    (found,) = build_table(made, tmp_path).claims
    assert (found.headline.verdict, found.headline.needed, found.headline.lacks_images) == ("undecided", None, True)
    assert "undecided (needs more test images)" in to_markdown(build_table(made, tmp_path))


def test_damaged_answers_are_told_with_their_file(tmp_path):
    made = plan(tmp_path, ROWS[:2], claims=[claim()], metrics=["linear.top1"])
    answer(tmp_path, made)
    name = made["cells"][0]["replicates"][0]["evaluation"]
    path = tmp_path / "results" / "evals" / f"{name}.json"
    value = json.loads(path.read_text())
    value["answers"]["linear"]["top1"]["packed"] = "made up"
    write_record(path, value)
    with pytest.raises(UserError, match=rf"^results/evals/{name}.json: damaged answers.*else remove it"):
        build_table(made, tmp_path)
    write_record(path, value | {"answers": ["made up"]})
    with pytest.raises(UserError, match=r"not a valid evaluation .*remove it"):
        build_table(made, tmp_path)
