"""How the house is kept: one idea a file."""

from projects import ROOT

SOURCES = sorted((ROOT / "src/sslpairs").rglob("*.py"))


def test_no_file_has_more_than_400_lines():
    long = {str(file.relative_to(ROOT)): lines for file in SOURCES if (lines := file.read_text().count("\n")) > 400}
    assert not long, "cut it where one idea ends"
