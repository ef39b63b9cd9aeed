"""sslpairs: regenerate the tables and figures of five papers on pairs in self-supervised learning."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__version__ = "0.1.0"


def results(root: str = ".", **choices: Any) -> "pd.DataFrame":
    """Results measured so far in a project: one row per run x protocol x metric x seed (see ``sslpairs.paper.results``).

    ``choices`` are those of ``config/config.yaml``, such as ``scale="cifar10-jpeg-mini"`` or ``tables=["gps-weak"]``. Raises
    ``sslpairs.errors.UserError`` for a configuration that cannot be read, or for damaged records.
    """
    from pathlib import Path

    from sslpairs.paper.results import frame
    from sslpairs.workflow.builds import check, make_build

    build = make_build(Path(root).resolve(), choices)
    check(build)
    return frame(build)
