"""What ``sslpairs new`` writes. ``$NAME`` and the like are filled in."""

from string import Template

SCALE = Template("""\
# Written by `sslpairs new scale`. A scale says what is trained for the data sets, networks, batch sizes and epochs that the papers'
# tables name. In each map, `default` applies to every value that is not listed. `sslpairs plan --set scale=$name` shows the result.

# Printed with every table. No other scale may have it.
title: $title

# Purpose of the scale, its cost, and the hardware on which the cost was measured.
about: >
  Nothing has been measured at this scale yet.

# The paper (a file in config/papers) -> hyper-parameters (a file in config/recipes).
recipes: {default: $recipe}

# The paper's data set -> an entry of config/datasets.yaml.
datasets: {default: $data}

# The paper's network -> the network to train. $network
backbones:
$backbones

# The paper's batch size -> the one to train with. $batches
batch_sizes: $batch_sizes

# The paper's epochs -> those to train for. As in $like.
epochs: $epochs

# Where a paper's table names no network, batch size or epochs: paper -> data set, or default -> these, in the paper's own words
# (paper.yaml has examples).
unnamed:$unnamed

# Also shown in every table whose recipe has the protocol, for example [few_labels.share] (digits.yaml).
metrics: $metrics

# Rows without any training below those of every table: networks as they were before training, and raw pixels. []: none.
baselines: $baselines

# Runs of each cell: n means the seeds 0 to n-1. More seeds decide more claims. As in $like.
seeds: $seeds

# Whether published values of the same setting may be shown next to the results: only at the papers' own sizes.
comparable: false

# CPU threads of each run. Another number changes the last digits of the results.
threads: $threads

# Compile the networks before each training (torch.compile): only for long trainings, best on a GPU. Changes the last digits, too.
compile: $compile
""")

SMALL_NETWORKS = """\
  default: {kind: convnet, widths: [32, 64, 128, 256]}
  resnet18: {kind: convnet, widths: [16, 32, 64, 128]}"""
LARGE_NETWORK = """\
  default: {kind: resnet, depth: 18, stem: imagenet}"""

PAPER = Template("""\
# Written by `sslpairs new paper`. A paper declares tables, claims and figures in its own settings; the scale (config/scales) maps
# these to what is trained. Examples: gps.yaml (a paper with published values), beyond.yaml (generated rows), clae.yaml (ablations).
# `sslpairs plan --set papers=$name` shows the runs, `make tables PAPERS=$name` builds the tables.

# Printed with every table and figure.
title: $name
# The paper's own pair strategy, for example gps; null for tables that are not from a paper.
strategy: null
# Its number on arXiv, for example "2401.01990"; null if there is none.
arxiv: null
# true: built only when it is named, as above. false: also with `papers: all`, where every scale needs a recipe for it.
optional: true

tables:
  # Name of the table, of its files, and of a target of `snakemake`. No other table or paper may have it.
  $table:
    title: $title
    # Whether rows and columns are the paper's (paper), or chosen here (ours).
    axes: ours
    # Printed below the table.
    note: ""
    # A base method, with pair strategies joined by +. docs/combinations.md lists what there is and what it means.
    rows: [simclr, simclr+$strategies, byol, byol+$strategies]
    # One column for each setting, in the paper's terms: dataset, backbone, batch_size, epochs, augmentation (one of the recipe's),
    # evaluate_on (another data set), and set (changes of the recipe, for example {set: {training.optimizer.lr: 0.003}}). What is not
    # named comes from `setting: {...}` of the table, if there is one, else from the scale's default.
    columns:
      - {dataset: CIFAR-10}
    # protocol.metric; the first one is the headline.
    metrics: [linear.top1, knn.top1, online.top1]
    # Tested over the scale's seeds, in every column, or in those that match `where: {...}`.
    claims:
      - text: $claim
        better: simclr+$strategies
        than: simclr
        metric: linear.top1
        # Where it is stated, for example "abstract of arXiv 2401.01990".
        source: ours
    # Instead of claims, the claim that every row with strategies beats its base method:
    # improves: {metric: linear.top1, source: ours}

figures:
  # Name of the figure and of its files. No other figure may have it.
  $figure:
    # with-without: rows with strategies next to their base methods; batch-size: over the columns' batch sizes; curves: over epochs.
    kind: with-without
    title: $title
    table: $table
    metric: linear.top1
""")

SETTINGS = Template('''\
"""$title: the distance between both views' projections is added to the loss. An example: put your idea in its place.

Settings and facts of the strategy, which ``pairs/$name.py`` computes. Planning reads this file: import no torch here.
"""

from typing import ClassVar, Literal

from sslpairs.config.base import NonNegative
from sslpairs.config.meaning import Meaning
from sslpairs.config.strategies.base import Strategy


class ${kind}Settings(Strategy):
    """Settings of ``pairs/$name.py``. The class there has the same name without ``Settings``."""

    # Facts: the same in every recipe.

    title: ClassVar[str] = "$title"
    """Name printed in tables."""
    order: ClassVar[int] = 60
    """Position in a label with several strategies: SPPS 10, GPS 20 (which images), MixCo 30, CLAE 40 (inputs), DimCL 50 (loss)."""
    meanings: ClassVar[dict[str, Meaning]] = {
        "moco": Meaning("refused", "One-way MoCo projects only view 1, but both projections are needed: use mocoplus"),
    }
    """Base method -> what the strategy means under it: ``released``, ``ours``, or ``refused`` with the reason."""
    otherwise: ClassVar[Meaning | None] = Meaning(
        "ours", "The mean squared distance between the unit projections of both views is added to the loss."
    )
    """The same for all other base methods. `sslpairs schema` writes these texts to docs/combinations.md."""

    # Settings: values in a recipe, under `strategies: $name:`. Add your own like `weight`; config/base.py has more types.

    version: Literal[1] = 1
    """Part of the name of a run. After a change of the computation, write 2 in both places: the runs are trained again."""
    weight: NonNegative
    """Weight of the distance in the loss."""
''')

PAIRS = Template('''\
"""$title: the mean squared distance between the unit projections of both views is added to the loss."""

import torch.nn.functional as F
from torch import Tensor

from sslpairs.config.strategies.$name import ${kind}Settings
from sslpairs.pairs.base import Pairs, Step


def distance(z1: Tensor, z2: Tensor) -> Tensor:
    """Mean over the images of the squared distance between two projections ``[N, D]``, scaled to length 1: a scalar."""
    return (F.normalize(z1, dim=1) - F.normalize(z2, dim=1)).square().sum(1).mean()


class $kind(Pairs):
    """The base method's loss plus the weighted distance."""

    # As in labels and recipes, and of both files.
    name = "$name"

    def __init__(self, settings: ${kind}Settings):
        # The values of the recipe.
        self.settings = settings

    # A strategy defines the hooks that it needs; pairs/base.py has all of them, which change nothing.
    #   which images form pairs:  pair_indices (per epoch), sample_positives (per batch), prepare (with a guide's embedding)
    #   the images themselves:    extra_views
    #   the networks:             wrap, unwrap
    #   the loss:                 add_loss

    def add_loss(self, total: Tensor, step: Step) -> Tensor:
        """Add the term to ``total``: the base method's loss, with the terms of the strategies before this one."""
        # Embeddings of both large views: projection [N, D], features [N, F] and what else the base method has (methods/base.py).
        first, second = step.clean[:2]
        # Gradients flow into both views; write .detach() to stop one.
        term = distance(first.projection, second.projection)
        # For inspection (docs/steps.md).
        step.parts["$name"] = term.detach()
        return total + self.settings.weight * term
''')

ENTRY = Template("$name: {weight: 0.1}")
