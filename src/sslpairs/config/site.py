"""What a cluster allows and how it is asked for GPUs: ours among the ``default-resources`` of a profile (``docs/cluster.md``)."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sslpairs.config.base import Count
from sslpairs.errors import UserError, nearest

UNITS = {"m": 1, "h": 60, "d": 24 * 60}


def _minutes(value: Any) -> Any:
    """'90', '36h' or '2d' in minutes."""
    found = re.fullmatch(r"(\d+)([mhd]?)", str(value))
    if not found:
        raise ValueError(f"'{value}' is no time: write minutes, or for example 36h or 2d")
    return int(found[1]) * UNITS[found[2] or "m"]


class Site(BaseModel):
    """A cluster, as far as requests for time, memory and GPUs depend on it. Other resources of the profile are the engine's."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    longest_job: Annotated[Count, BeforeValidator(_minutes)] | None = None
    """Minutes that the partition allows a job (also '36h', '2d'). A training that takes longer is several jobs in a row."""
    gpu_request: Annotated[str, Field(pattern=r"^[a-z_]+(=\S+)?$")] | None = None
    """The resource by which a job asks for n GPUs: 'gres=gpu' gives gres=gpu:n, 'gpu' gives gpu=n. Without it, no GPUs."""
    share_request: Annotated[str, Field(pattern=r"^[a-z_]+=\S+$")] | None = None
    """What a small run asks for instead, so that several share a GPU: 'gres=shard:1'."""
    gpu_shares: Count = 1
    """Runs that share a GPU: shards on each."""
    gpus_per_node: Count = 8
    """A run that asks for more GPUs spreads over nodes."""
    gpu_memory_gb: Count = 16
    """Of one GPU."""
    node_memory_gb: Count | None = None
    """The most main memory that a job may ask for."""
    cpus_per_gpu: Count = 4
    """Processor cores that a job asks for with each GPU: they decode images that do not fit into memory."""
    gpu_tflops: Count = 10
    """10^12 floating-point operations that a training reaches a second on one GPU: a guess, for as long as no receipt of a run on a
    GPU is there to go by."""


def read_site(resources: Mapping[str, Any], where: str = "profile: default-resources") -> Site:
    """The cluster that a profile's ``default-resources`` describe; ``UserError`` for a value that fits none."""
    known = list(Site.model_fields)
    plain = {key: value.strip("'\" ") if isinstance(value, str) else value for key, value in resources.items()}
    values = {key: value for key, value in plain.items() if value not in (None, "", "null", "none")}
    for key in sorted(values.keys() - set(known)):
        if key not in FOREIGN and (hint := nearest(key, known)):
            raise UserError(f"{where}: {key}: unknown resource{hint}")
    try:
        site = Site.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        key = first["loc"][0]
        raise UserError(f"{where}: {key}: {values[key]!r}: {message} (docs/cluster.md says what it means)") from None
    if site.share_request and not site.gpu_request:
        raise UserError(f"{where}: share_request: write gpu_request too: what a run asks for that does not share a GPU")
    return site


FOREIGN = {
    *("tmpdir", "mem", "mem_mb", "mem_mib", "mem_mb_per_cpu", "disk", "disk_mb", "disk_mib", "runtime"),
    *("gpu", "gpus", "gres", "gpu_model", "gpu_manufacturer", "nvidia_gpu", "tasks", "tasks_per_gpu", "tasks_per_node"),
    *("node", "nodes", "mpi", "constraint", "qos", "cluster", "clusters", "cpus_per_task", "requeue"),
    *("slurm_partition", "slurm_account", "slurm_extra", "slurm_cluster", "machine_type", "scale", "reservation"),
}
"""Resources of Snakemake and of its executors, which are not ours misspelt."""
