"""Terminal output of a build: one line per finished job, with a running count and the remaining time.

Snakemake's own lines (selections, resources, start and end of each job with a date above) still reach its log file under
``.snakemake/log``; with ``--verbose`` or ``--printshellcmds`` the terminal has them too.
"""

import logging
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

from snakemake.logging import DefaultFormatter, get_event
from snakemake_interface_logger_plugins.common import LogEvent

from sslpairs.plan.build import Build
from sslpairs.words import duration
from sslpairs.workflow.builds import unknown_target

_NOISE = re.compile(
    "Select jobs to execute|Execute [0-9]+ jobs|Building DAG of jobs|Using shell|Conda environments: ignored|"
    "Assuming unrestricted shared filesystem|Complete log|Job [0-9]+ has been submitted|Elapsed time|This was a dry-run|"
    "--keep-incomplete mode is set"
)
_NO_RULE = re.compile(r"No rule to produce (\S+) \(if you use input functions")
_FACT = re.compile(r"^\S+ \S+ INFO (.*)$")


class BuildFormatter(DefaultFormatter):
    """Formats Snakemake's events; an empty text is not printed."""

    def __init__(self, workflow: Any, build: Build):
        super().__init__()
        self.build = build
        self.workflow, self.dry = workflow, workflow.output_settings.dryrun
        self.named = {rule.name for rule in workflow.rules if rule.message}
        self.started: dict[int, tuple[float, str, str | None, str | None]] = {}  # job -> (when, rule, words, log file)
        self.left: Counter[str] = Counter()  # jobs by rule
        self.total = 0
        self.took: dict[str, list[float]] = {}  # seconds of finished jobs by rule
        self.began = time.monotonic()

    def begin(self, record: logging.LogRecord) -> bool:
        """Logging filter: record the start of a job without showing it."""
        if get_event(record) != LogEvent.JOB_INFO:
            return True
        facts = record.__dict__
        log = facts["log"][0] if facts["log"] else None
        self.started[facts["jobid"]] = (time.monotonic(), facts["rule_name"], facts["rule_msg"], log)
        return False

    def format(self, record: logging.LogRecord) -> str:
        """The line for an event, or '' to print nothing."""
        event, facts = get_event(record), record.__dict__
        if event == LogEvent.RUN_INFO and not self.dry and not self.total:
            counts = facts.get("stats") or {}
            self.left = Counter({rule: count for rule, count in counts.items() if rule in self.named})
            self.total, self.began = self.left.total(), time.monotonic()
            return _overview(self.left)
        if event == LogEvent.JOB_FINISHED:
            return self._finished(facts["job_id"])
        if event == LogEvent.JOB_ERROR:
            return self._error(facts)
        if match := _NO_RULE.search(str(facts["msg"] or "")):
            return f"error: {unknown_target(self.build, match[1]) or match[0]}"
        if event in _SILENT or _NOISE.match(str(facts["msg"] or "")):
            return ""
        if event == LogEvent.ERROR or record.levelno >= logging.WARNING:
            return super().format(record)
        return super().format(record)

    def _finished(self, job: int) -> str:
        when, rule, words, log = self.started.pop(job, (0.0, "", None, None))
        if rule not in self.named:
            return ""
        self.left[rule] -= 1
        self.took.setdefault(rule, []).append(time.monotonic() - when)
        done = self.total - self.left.total()
        count = f"[{done:>{len(str(self.total))}}/{self.total}]"
        return f"{count} {_last_fact(log) or words}{self._remaining()}"

    def _remaining(self) -> str:
        """Estimated from the mean time of each rule's finished jobs and how many ran at once; '' until one of each has ended."""
        left = {rule: count for rule, count in self.left.items() if count}
        if not left or any(rule in _LONG and rule not in self.took for rule in left):
            return ""
        busy = sum(sum(seconds) for seconds in self.took.values())
        means = {rule: sum(seconds) / len(seconds) for rule, seconds in self.took.items()}
        work = sum(count * means.get(rule, 0.0) for rule, count in left.items())
        return f" | {duration(work * (time.monotonic() - self.began) / busy)} left" if busy and work else ""

    def _error(self, facts: dict[str, Any]) -> str:
        """A failed job and its log; for a job on another machine, which cannot print here, also the end of the log."""
        _, _, words, log = self.started.pop(facts["jobid"], (0.0, "", None, None))
        logs = facts["log"] or [log] * bool(log)
        reason = " ".join((facts.get("rule_msg") or "").split())  # as reported by a cluster
        line = f"failed: {words or facts['rule_name']}" + f": {reason}" * bool(reason)
        line += f" (see {', '.join(logs)})" if logs else ""
        return (
            line
            if self.workflow.local_exec
            else "\n    ".join([line, *(text for file in logs for text in _lines(file)[-8:])])
        )


_LONG = {"pretrain", "pretrain_and_evaluate", "retrain", "evaluate"}
"""Rules of which one job must have ended before the remaining time is known; the others take seconds."""
_SILENT = {
    LogEvent.PROGRESS,
    LogEvent.SHELLCMD,
    LogEvent.JOB_STARTED,
    LogEvent.RESOURCES_INFO,
    LogEvent.GROUP_INFO,
    LogEvent.WORKFLOW_STARTED,
}


def say_briefly(workflow: Any, build: Build) -> None:
    """Use the short format in this Snakemake process's terminal handler, unless more output was requested."""
    settings = workflow.output_settings
    if settings.verbose or settings.printshellcmds or settings.debug_dag:
        return
    for handler in workflow.logger_manager.logger.handlers:
        if handler.name == "DefaultStreamHandler":
            formatter = BuildFormatter(workflow, build)
            handler.setFormatter(formatter)
            handler.addFilter(formatter.begin)


def _overview(jobs: Counter[str]) -> str:
    parts = ", ".join(f"{rule} {count}" for rule, count in jobs.items() if count)
    return f"{jobs.total()} job{'s' * (jobs.total() != 1)}: {parts}" if parts else ""


def _last_fact(log: str | None) -> str | None:
    """The last line of a job's log if it states how the job ended."""
    lines = _lines(log)
    match = _FACT.match(lines[-1]) if lines else None
    return match.group(1) if match else None


def _lines(log: str | None) -> list[str]:
    try:
        return Path(log or "").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
