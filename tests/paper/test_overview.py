"""All claims together: one file, a forest plot, and the sum of the verdicts."""

import io

import pandas as pd
import pytest
from docutils.core import publish_string
from made_up import claim, column, plan

from sslpairs.paper.forest import draw_forest
from sslpairs.paper.overview import Overview
from sslpairs.paper.statistics import holm
from sslpairs.paper.tables import build_table
from sslpairs.plan.build import Build
from sslpairs.plan.plan import Plan
from sslpairs.workflow.report import Opening

ROWS = ["simclr", "simclr+gps", "byol", "byol+gps"]


@pytest.fixture
def overview(tmp_path) -> Overview:
    """Two tables: gains of GPS over two base methods, which are there, and a reverse claim over two columns."""
    gains = plan(tmp_path, ROWS, claims=[claim(), claim("byol+gps", "byol")])
    columns = [column(0, 64), column(1, 128)]
    reverse = plan(
        tmp_path, ROWS, columns, rng=1, claims=[claim("simclr", "simclr+gps", text="the reverse")], id="other"
    )
    return Overview([build_table(gains, tmp_path), build_table(reverse, tmp_path)])


def test_every_claim_has_a_line_a_metric_and_every_pooled_gain_too(overview):
    frame = pd.read_csv(io.StringIO(overview.csv()))
    claims, pooled = frame[frame.kind == "claim"], frame[frame.kind == "pooled"]
    assert len(claims) == 3 * 3
    assert list(claims[claims.headline].text) == [one.plan["text"] for _, one in overview.claims]
    assert list(pooled.table) == ["gps-weak"] * 3, "of one claim nothing is pooled"
    assert set(pooled.metric) == {"top1"}
    assert list(pooled.p_adjusted) == pytest.approx(holm(list(pooled.p)), rel=1e-3)
    assert (pooled.low < pooled.effect).all()


def test_the_sum_counts_each_claim_once_under_its_papers_metric(overview):
    assert overview.text() == "3 claims: 2 hold, 1 is contradicted"
    assert Overview(overview.tables[:1]).text() == "2 claims: 2 hold"
    assert Overview([]).text() == ""


def test_the_forest_plot_shows_every_claim_and_the_pooled_gains_and_equal_results_give_equal_bytes(overview, tmp_path):
    for name in ("one", "two"):
        draw_forest(overview, tmp_path / name)
    for ending in ("pdf", "png", "svg"):
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
    text = (tmp_path / "one.svg").read_text()
    for part in ("3 claims: 2 hold, 1 is contradicted", "the reverse", "GPS, 2 gains pooled", "holds", "contradicted"):
        assert part in text


def test_the_report_opens_with_the_sum_and_the_plot(overview, tmp_path, monkeypatch):
    monkeypatch.setattr("sslpairs.paper.overview.overview_of", lambda build: overview)
    opening = Opening(Build(Plan(settings={}, scale={"name": "digits"}, datasets={}), tmp_path))
    assert str(opening) == "3 claims: 2 hold, 1 is contradicted", "before the plot is drawn"
    draw_forest(overview, tmp_path / "results/figures/digits/claims")
    page = publish_string(str(opening), writer="html", settings_overrides={"halt_level": 2}).decode()
    assert "<strong>3 claims: 2 hold, 1 is contradicted</strong>" in page
    assert "<svg" in page
    assert "the reverse" in page
