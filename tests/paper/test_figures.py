import re
import xml.etree.ElementTree as ET

import pytest
from made_up import column, plan
from PIL import Image

from sslpairs.errors import UserError
from sslpairs.paper.figures import draw

ROWS = ["simclr", "simclr+mixco", "byol", "byol+mixco"]


def figure(kind, metric="linear.top1"):
    return {"id": "f", "paper": "mixco", "kind": kind, "title": "With & without", "metric": metric, "table": "gps-weak"}


def svg_text(stem):
    return " ".join(ET.parse(f"{stem}.svg").getroot().itertext())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    return root, plan(root, ROWS, [column(0, 64), column(1, 128)])


@pytest.mark.parametrize(
    "kind", ["with-without", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("batch-size", "curves"))]
)
def test_equal_results_give_equal_bytes(results, tmp_path, kind):
    root, made = results
    for name in ("one", "two"):
        draw(figure(kind), made, root, tmp_path / name)
    for suffix in ("pdf", "png", "svg"):
        first = (tmp_path / f"one.{suffix}").read_bytes()
        assert first == (tmp_path / f"two.{suffix}").read_bytes()
    text = svg_text(tmp_path / "one")
    assert "With & without" in text
    assert "Guided Positive Sampling" in text
    assert "Digits (toy scale)" in text
    assert "3 seeds" in text
    assert "top-1 accuracy (%)" in text


def test_with_without(results, tmp_path):
    root, made = results
    draw(figure("with-without"), made, root, tmp_path / "f")
    text = svg_text(tmp_path / "f")
    for part in ("SimCLR", "BYOL", "base method", "with MixCo", "batch 64", "batch 128", "mean ± sd", "linear top-1"):
        assert part in text
    assert len(re.findall(r"[+−]\d\.\d\d", text)) == 4  # one gain for each pair and column


def test_long_titles_of_panels_are_broken_after_dots_and_spaces(results, tmp_path):
    root, made = results
    label = "byol.projector.output 1024, byol.predictor.output 1024"
    wide = made | {"columns": [column | {"label": label} for column in made["columns"]]}
    draw(figure("with-without"), wide, root, tmp_path / "f")
    draw(figure("with-without"), made, root, tmp_path / "short")
    text = svg_text(tmp_path / "f")
    assert label not in text
    assert "byol.predictor." in text
    assert Image.open(tmp_path / "f.png").size[1] > Image.open(tmp_path / "short.png").size[1]


def test_batch_size_axis_names_the_batch_sizes(results, tmp_path):
    root, made = results
    draw(figure("batch-size", "knn.top1"), made, root, tmp_path / "f")
    text = svg_text(tmp_path / "f")
    for part in ("64", "128", "batch size (images)", "kNN top-1 accuracy (%)", "SimCLR + MixCo"):
        assert part in text


def test_print_sizes_and_fonts(results, tmp_path):
    root, made = results
    draw(figure("with-without"), made, root, tmp_path / "f")
    width, _ = Image.open(tmp_path / "f.png").size
    assert width in (3.4 * 200, 6.9 * 200)
    assert b"/FontType 42" in (tmp_path / "f.pdf").read_bytes() or b"/CIDFontType2" in (tmp_path / "f.pdf").read_bytes()
    svg = (tmp_path / "f.svg").read_text()
    assert "dc:date" not in svg
    assert 'width="244.8pt"' in svg or 'width="496.8pt"' in svg  # so that a pixel of the file is a point of print
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)]
    assert sizes
    assert min(sizes) >= 7


@pytest.mark.parametrize("kind", ["with-without", "batch-size", "curves"])
def test_one_seed_one_column_and_a_missing_cell(tmp_path, kind):
    made = plan(tmp_path, ROWS, seeds=1)
    made["cells"].pop()
    draw(figure(kind), made, tmp_path, tmp_path / "f")
    assert "±" not in svg_text(tmp_path / "f")


def test_missing_and_damaged_curves(tmp_path):
    made = plan(tmp_path, ["simclr"])
    path = tmp_path / "results" / "runs" / made["cells"][0]["replicates"][0]["run"] / "metrics.csv"
    path.write_text("epoch,loss\n1,broken\n")
    with pytest.raises(UserError, match=r"metrics\.csv is damaged"):
        draw(figure("curves"), made, tmp_path, tmp_path / "f")
    path.unlink()
    with pytest.raises(UserError, match=r"metrics\.csv is missing"):
        draw(figure("curves"), made, tmp_path, tmp_path / "f")
    assert not (tmp_path / "f.svg").exists()
