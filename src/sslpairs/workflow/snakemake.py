"""What is used of Snakemake 9.27 beyond its language: attributes of its ``workflow`` that no release promises.

With ``build_log.py`` (its events) and ``kubernetes.py`` (its executor), all of it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Engine:
    """Snakemake's ``workflow``, of the process that parses the Snakefile."""

    def __init__(self, workflow: Any):
        self._workflow = workflow

    @property
    def on_node(self) -> bool:
        """Whether this process is one job on a cluster: the build on the head node has looked at everything."""
        return self._workflow.remote_exec

    @property
    def on_one_machine(self) -> bool:
        """Whether jobs are processes of this machine."""
        return self._workflow.local_exec

    @property
    def snakefile(self) -> str:
        """Its path."""
        return self._workflow.main_snakefile

    @property
    def typed(self) -> list[str]:
        """The words of ``--config``, as they were typed."""
        return list(self._workflow.config_settings.config_args or [])

    def tell_jobs(self, word: str) -> None:
        """Add ``KEY=VALUE`` to the ``--config`` of all jobs."""
        self._workflow.config_settings.config_args = [*self.typed, word]

    def limit(self, resource: str, most: int) -> None:
        """Let jobs that run at once take at most so much of a resource."""
        self._workflow.global_resources[resource] = most

    def default_resources(self) -> dict[str, Any] | None:
        """``default-resources`` of the profile, as they were written; None without any."""
        found = self._workflow.resource_settings.default_resources
        return None if found is None else {name: getattr(value, "raw", value) for name, value in found.items()}

    @property
    def executor(self) -> tuple[str, Any]:
        """Name and settings of the executor, once the build starts."""
        settings = self._workflow.executor_settings
        return type(settings).__module__.removeprefix("snakemake_executor_plugin_"), settings

    def to_run(self) -> list[Any]:
        """The jobs that the build will run, once it starts."""
        return list(self._workflow.dag.needrun_jobs())

    def run_anyway(self, files: Iterable[str]) -> None:
        """Run the jobs that make these files, whatever dates and checksums say."""
        self._workflow.dag.forcefiles.update(files)

    def attempts(self, rules: Iterable[str], more: int) -> None:
        """Give the jobs of some rules more attempts than the profile does."""
        for rule in rules:
            self._workflow.get_rule(rule).restart_times = self._workflow.execution_settings.retries + more


def outputs(jobs: Iterable[Any]) -> list[str]:
    """The files that jobs make."""
    return [str(Path(file)) for job in jobs for file in job.output]
