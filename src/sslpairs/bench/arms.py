"""The three arms that are measured side by side; each returns the seconds per step.

Ours: the loop that ``sslpairs train`` runs: views, the step, the online classifier, the schedule. Bare: the same networks,
optimiser, precision and batch on precomputed views, and nothing else. Stock: the code in lightly's documentation for SimCLR
(examples/pytorch/simclr.py of lightly-ai/lightly): Pillow images, its transform, a DataLoader. The transforms have the same
parameters in both; lightly's hue uses HSV, ours YIQ.
"""

import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sslpairs.bench.setting import NETWORKS, Setting, bench_spec, random_images
from sslpairs.methods.base import TrainProgress
from sslpairs.methods.build import build_method
from sslpairs.random_streams import generator
from sslpairs.training.compiled import compile_networks, nothing
from sslpairs.training.optimization import build_optimizer
from sslpairs.training.step import train_step
from sslpairs.training.trainer import Trainer


def wait(device: str) -> None:
    """Wait until the device has finished its work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def random_views(setting: Setting, count: int = 2) -> list[Tensor]:
    """Normalised views ``[batch, 3, size, size]``, channels last."""
    draws = torch.Generator().manual_seed(1)
    shape = (setting.batch, 3, setting.size, setting.size)
    views = [torch.randn(shape, generator=draws).to(setting.device) for _ in range(count)]
    return [view.contiguous(memory_format=torch.channels_last) for view in views]


class Ours:
    """Trainings of a label, one epoch of ``setting.steps`` steps at a time (more if a strategy adds items)."""

    def __init__(self, label: str, setting: Setting):
        self.setting = setting
        data = random_images(setting.size, setting.steps * setting.batch, setting.device)
        self.trainer = Trainer(f"bench {label}", bench_spec(label, setting), data, Path(), torch.device(setting.device))
        if setting.compiled:
            self.trainer.compile()
        self.epochs = 0

    def seconds(self) -> float:
        """Seconds per step, over an epoch including its start and end."""
        wait(self.setting.device)
        started = time.perf_counter()
        self.trainer._epoch(self.epochs)
        wait(self.setting.device)
        self.epochs += 1
        return (time.perf_counter() - started) / self.trainer.steps_per_epoch

    def step(self) -> None:
        """Only the training step, on precomputed views, for counting operations."""
        trainer = self.trainer
        train_step(
            trainer.method,
            trainer.pairs,
            random_views(self.setting),
            trainer.optimizer,
            {strategy.name: generator(0, strategy.name, "count") for strategy in trainer.pairs},
            TrainProgress(0, 1_000_000, 0),
            bounds=trainer.bounds,
            autocast=torch.bfloat16 if self.setting.precision == "bfloat16" else None,
        )


class Bare:
    """Forward, loss, backward and the optimiser of a base method."""

    def __init__(self, base: str, setting: Setting):
        spec = bench_spec(base, setting)
        self.setting = setting
        self.method = build_method(spec, 3, setting.size).to(setting.device).train()
        self.begin_step = nothing
        if setting.compiled:
            self.begin_step = compile_networks(self.method.children(), torch.device(setting.device))
        self.optimizer = build_optimizer(spec.optimizer, self.method.online_modules(), setting.batch)
        self.views = random_views(setting)
        self.progress = TrainProgress(0, 1_000_000, 0)

    def seconds(self) -> float:
        """Seconds per step."""
        wait(self.setting.device)
        started = time.perf_counter()
        for _ in range(self.setting.steps):
            self.step()
        wait(self.setting.device)
        return (time.perf_counter() - started) / self.setting.steps

    def step(self) -> None:
        """One step; momentum encoders and queues are part of their methods."""
        method, low = self.method, self.setting.precision == "bfloat16"
        self.begin_step()
        method.before_step(self.progress)
        with torch.autocast(torch.device(self.setting.device).type, torch.bfloat16, enabled=low):
            clean, _ = method.views(self.views, [None, None])
        clean = [emb.float() for emb in clean]
        loss = method.loss(clean)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        method.after_backward(self.progress)
        self.optimizer.step()
        method.after_step(clean, self.progress)


class _PillowImages(torch.utils.data.Dataset):
    """Images in memory, returned as Pillow images, as in torchvision's CIFAR10."""

    transform = None  # LightlyDataset sets it

    def __init__(self, images: np.ndarray):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), index % 10


class Stock:
    """SimCLR as in lightly's documentation, in plain PyTorch, with the same network, head, loss and optimiser."""

    def __init__(self, setting: Setting, workers: int | None = None):
        from lightly.data import LightlyDataset
        from lightly.loss import NTXentLoss
        from lightly.models.modules.heads import SimCLRProjectionHead
        from lightly.transforms.simclr_transform import SimCLRTransform

        self.setting = setting
        spec = bench_spec("simclr", setting)
        head, sgd = spec.method.simclr.projector, spec.optimizer
        backbone, width = self._backbone(setting)
        self.model = nn.Sequential(backbone, SimCLRProjectionHead(width, head.hidden[0], head.output))
        self.model.to(setting.device).train()
        self.criterion = NTXentLoss(temperature=spec.method.simclr.temperature)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), sgd.lr, momentum=sgd.momentum, weight_decay=sgd.weight_decay
        )
        workers = cores() if workers is None else workers
        # Extra unused batches, so that until the last measured step the workers are as busy as in a long epoch.
        batches = 1 + setting.stock_steps + 2 * max(1, workers)
        images = random_images(setting.size, batches * setting.batch, "cpu").train.images.tensor
        base = _PillowImages(images.permute(0, 2, 3, 1).contiguous().numpy())
        transform = SimCLRTransform(input_size=setting.size, cj_strength=0.5, gaussian_blur=0.0)
        self.loader = torch.utils.data.DataLoader(
            LightlyDataset.from_torch_dataset(base, transform=transform),
            batch_size=setting.batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
        )

    @staticmethod
    def _backbone(setting: Setting) -> tuple[nn.Module, int]:
        from pydantic import TypeAdapter

        from sslpairs.backbones.build import build_backbone
        from sslpairs.config.backbones import Backbone

        network, width = build_backbone(
            TypeAdapter(Backbone).validate_python(NETWORKS[setting.network]), 3, setting.size
        )
        return network.to(memory_format=torch.contiguous_format), width

    @torch.backends.cudnn.flags(enabled=True, deterministic=False, allow_tf32=True)  # the user's defaults
    def seconds(self) -> float:
        """Seconds per step after the first one: the start of the workers is not counted."""
        low, kind = self.setting.precision == "bfloat16", torch.device(self.setting.device).type
        for number, ((x0, x1), _, _) in enumerate(self.loader):
            x0, x1 = x0.to(self.setting.device), x1.to(self.setting.device)
            with torch.autocast(kind, torch.bfloat16, enabled=low):
                z0, z1 = self.model(x0), self.model(x1)
            loss = self.criterion(z0.float(), z1.float())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if number == 0:
                wait(self.setting.device)
                started = time.perf_counter()
            if number == self.setting.stock_steps:
                break
        wait(self.setting.device)
        return (time.perf_counter() - started) / self.setting.stock_steps
