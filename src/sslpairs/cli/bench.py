"""``sslpairs bench``: how fast this machine trains."""

from pathlib import Path
from typing import Annotated

import typer

from sslpairs.cli.common import MAINTAIN, app, log, start_log
from sslpairs.cli.progress import Progress
from sslpairs.errors import UserError, nearest
from sslpairs.terminal.screen import out


@app.command(rich_help_panel=MAINTAIN)
def bench(
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="SimCLR and three other methods, one size, few rounds: takes a minute, with fewer rounds on a slow machine.",
        ),
    ] = False,
    methods: Annotated[
        str | None, typer.Option("--methods", help="Comma-separated labels, for example simclr,byol+clae.")
    ] = None,
    size: Annotated[
        list[int] | None, typer.Option("--size", help="Side of the images in pixels; may be repeated. Default: 16, 32.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", help="Images per step.")] = 256,
    repeats: Annotated[int | None, typer.Option("--repeats", help="Rounds. Default: 7; with --quick 5.")] = None,
    network: Annotated[str, typer.Option("--network", help="convnet (32-64-128) or resnet18 (3x3 stem).")] = "convnet",
    precision: Annotated[str, typer.Option("--precision", help="float32 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:1.")] = "auto",
    threads: Annotated[int | None, typer.Option("--threads", help="CPU threads. Default: torch's choice.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report to this file as JSON; - prints only the JSON.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the report as a Markdown file.")] = None,
) -> None:
    """Compare trainings with the bare training step and with lightly's default pipeline, in rounds within one process.

    Speeds are ratios within a round. Nothing else should run on the machine at the same time.
    """
    import json
    import re
    import time

    started = time.monotonic()
    from sslpairs.config.labels import parse_label
    from sslpairs.files import write_atomic

    start_log(None)
    for name, value, known in (
        ("network", network, ["convnet", "resnet18"]),
        ("precision", precision, ["float32", "bfloat16"]),
    ):
        if value not in known:
            raise UserError(f"--{name} {value}: write one of {', '.join(known)}{nearest(value, known)}")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise UserError(f"--device {device}: write auto, cpu, cuda or cuda:1")
    if threads is not None and threads < 1:
        raise UserError(f"--threads {threads}: must be at least 1")
    named = [str(parse_label(label.strip())) for label in methods.split(",")] if methods else []

    import torch

    from sslpairs.bench import measure
    from sslpairs.bench.report import facts, to_markdown, to_terminal
    from sslpairs.bench.setting import QUICK, QUICK_SECONDS, Setting, all_labels
    from sslpairs.distributed.device import configure_process, pick_device

    configure_process(threads or torch.get_num_threads())
    settings = [
        Setting(
            size=edge,
            batch=batch,
            repeats=(5 if quick else 7) if repeats is None else repeats,
            device=str(pick_device(device)),
            network=network,
            precision=precision,
        )
        for edge in size or ([16] if quick else [16, 32])
    ]
    labels = named or (QUICK if quick else all_labels())
    # An explicit number of rounds is not cut short.
    until = started + QUICK_SECONDS if quick and repeats is None else None
    with Progress("measuring", quiet=False, unit="round") as progress:
        say = (lambda line: None) if progress.bar else log.info
        report = measure.bench(settings, labels, labels[:1] if quick else labels, say, until, progress)
    if json_file == Path("-"):
        print(json.dumps(report, indent=1))
    else:
        for table in to_terminal(report):
            out.print(table)
        for line in facts(report):
            out.say(line)
        if json_file:
            write_atomic(json_file, (json.dumps(report, indent=1) + "\n").encode())
    if markdown:
        write_atomic(markdown, to_markdown(report).encode())
