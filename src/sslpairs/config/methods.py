"""Method labels such as ``byol+gps+dimcl``: what each combination means, where that comes from, and which are refused."""

from dataclasses import dataclass
from typing import Literal

from sslpairs.errors import UserError, nearest, shown

BASES = {
    "simclr": "SimCLR",
    "moco": "MoCo v2",
    "mocoplus": "MoCo v2+",
    "byol": "BYOL",
    "simsiam": "SimSiam",
    "barlowtwins": "Barlow Twins",
    "vicreg": "VICReg",
    "swav": "SwAV",
    "dino": "DINO",
    "nnclr": "NNCLR",
    "uel": "UEL",
    "plain": "Plain",
}
STRATEGIES = {"spps": "SPPS", "gps": "GPS", "mixco": "MixCo", "clae": "CLAE", "dimcl": "DimCL"}

Status = Literal["released", "named", "ours", "refused"]


@dataclass(frozen=True)
class Meaning:
    """What a base method under one pair strategy is."""

    status: Status
    """``released``: as in released code; ``named``: the paper names it and released no code; ``ours``: defined here;
    ``refused``: without a meaning."""
    text: str
    """The definition, or why there is none, in one line."""


_SOURCES = "sources of the two views only; the objective is the base's"
_MINED = Meaning("ours", f"mined pairs lengthen the list of items; {_SOURCES}")
_GUIDED = Meaning("ours", f"view 2 from a near neighbour; {_SOURCES}")
_GUIDED_RELEASED = Meaning("released", "view 2 from one of the k nearest neighbours, drawn anew at every fetch")
_DIMENSIONAL = "(1 - w) * base + w * contrast of the dimensions of both views' raw projections"
_DIMENSIONAL_RELEASED = ("simclr", "mocoplus", "byol", "simsiam", "barlowtwins", "vicreg")
_PER_IMAGE = "lam * loss against parent i + (1 - lam) * loss against parent j, the base's own loss for one image"

MEANINGS: dict[str, dict[str, Meaning]] = {
    "spps": dict.fromkeys(BASES, _MINED)
    | {
        base: Meaning(
            "named", f"mined pairs lengthen the list of items ({source} of the abstract); thresholds are ours"
        )
        for base, source in {"simclr": "v1", "moco": "v3", "simsiam": "v3"}.items()
    },
    "gps": dict.fromkeys(BASES, _GUIDED)
    | dict.fromkeys(["simclr", "byol", "barlowtwins", "vicreg"], _GUIDED_RELEASED)
    | {"nnclr": Meaning("ours", f"view 2 from a near neighbour; {_SOURCES} (the released configuration crashes)")},
    "mixco": {
        "simclr": Meaning("released", "soft cross entropy of mixed images over the other view's projections"),
        "moco": Meaning("released", "mixed queries, in one batch with the clean ones, over clean keys and the queue"),
        "mocoplus": Meaning("ours", "as MoCo v2, in both directions, each with its queue; the mean of both"),
        "byol": Meaning("ours", f"{_PER_IMAGE}; both directions summed as in the base; no T_mix"),
        "simsiam": Meaning("ours", f"{_PER_IMAGE}; the mean of both directions as in the base; no T_mix"),
        "barlowtwins": Meaning(
            "ours", "the base's loss between mixed projections and equally mixed clean projections; no T_mix"
        ),
        "vicreg": Meaning(
            "ours", "the base's loss between mixed projections and equally mixed clean projections; no T_mix"
        ),
        "swav": Meaning("released", "mixed crops predict equally mixed codes; the mean over all cross entropies"),
        "dino": Meaning("ours", "as SwAV with the teacher's centred, sharpened outputs for codes"),
        "nnclr": Meaning("ours", "soft cross entropy of mixed predictions over the neighbours of the other view"),
        "uel": Meaning("ours", "as SimCLR on UEL's unit features; the gradient flows into the mixed side only"),
        "plain": Meaning("ours", "as SimCLR on Plain's unit features, in Plain's one direction: view 1 mixed"),
    },
    "clae": {
        "simclr": Meaning("released", "adds the base's loss between clean view 1 and its adversarial version"),
        "uel": Meaning("released", "adds the base's loss between clean view 1 and its adversarial version"),
        "plain": Meaning(
            "released", "adds the base's loss between clean view 1 (embedded anew) and its adversarial version"
        ),
        "moco": Meaning("ours", "the attacked query, in its own norms, against clean keys of view 2 and the queue"),
        "mocoplus": Meaning(
            "ours", "the attacked query, in its own norms, against clean keys of view 2 and their queue"
        ),
        "byol": Meaning(
            "ours",
            "the attacked image, online branch only, predicts the target of clean view 2; one direction, the base two",
        ),
        "simsiam": Meaning(
            "ours", "the attacked image predicts the projection of clean view 2 (main norms, without gradient there)"
        ),
        "barlowtwins": Meaning("ours", "adds the base's loss between clean view 1 and its adversarial version"),
        "vicreg": Meaning("ours", "adds the base's loss between clean view 1 and its adversarial version"),
        "swav": Meaning("ours", "the attacked image predicts the codes of clean view 2 (main norms)"),
        "dino": Meaning(
            "ours", "the attacked image, in the student only, predicts the teacher's output for clean view 2"
        ),
        "nnclr": Meaning("ours", "adds the base's loss between clean view 1 and its adversarial version, same queue"),
    },
    "dimcl": {base: Meaning("released" if base in _DIMENSIONAL_RELEASED else "ours", _DIMENSIONAL) for base in BASES}
    | {
        "moco": Meaning(
            "refused",
            "DimCL contrasts the online projections of both views, and one-way MoCo projects only the query "
            "(the released code uses MoCo v2+): write mocoplus+dimcl",
        ),
        "swav": Meaning("ours", f"{_DIMENSIONAL}, before their normalisation (the released code ignores the flag)"),
        "dino": Meaning("ours", f"{_DIMENSIONAL}, at the bottleneck (the released code ignores the flag)"),
        "nnclr": Meaning("ours", f"{_DIMENSIONAL} (the released code ignores the flag)"),
    },
}
"""strategy -> base -> meaning. ``parse_label`` refuses by it, and the page for users is written from it."""

CODES = ("swav", "dino")
"""Base methods that predict codes, to which ``mixco.hard_codes`` applies."""

WITHOUT_MIXED_TEMPERATURE = ("byol", "simsiam", "barlowtwins", "vicreg")
"""Base methods whose loss has no softmax, so that ``mixco.temperature`` has no place in it."""


@dataclass(frozen=True)
class Label:
    """A base method and its pair strategies, in the fixed order of ``STRATEGIES``."""

    base: str
    strategies: tuple[str, ...]

    def __str__(self) -> str:
        return "+".join((self.base, *self.strategies))

    @property
    def title(self) -> str:
        """What tables print, for example 'BYOL + GPS'."""
        return " + ".join([BASES[self.base], *(STRATEGIES[name] for name in self.strategies)])


def parse_label(text: str) -> Label:
    """Read a method label; strategies may come in any order.

    Raises ``UserError`` for unknown or doubled words and for combinations without a meaning.
    """
    base, *strategies = text.split("+")
    if base not in BASES:
        raise UserError(
            f"'{shown(text)}': '{shown(base)}' is not a base method{nearest(base, list(BASES))} ({', '.join(BASES)})"
        )
    for name in strategies:
        if name not in STRATEGIES:
            hint = nearest(name, list(STRATEGIES))
            raise UserError(f"'{shown(text)}': '{shown(name)}' is not a pair strategy{hint} ({', '.join(STRATEGIES)})")
        if strategies.count(name) > 1:
            raise UserError(f"'{shown(text)}': '{name}' stands twice; write it once")
        meaning = MEANINGS[name][base]
        if meaning.status == "refused":
            raise UserError(f"'{shown(text)}' has no meaning: {meaning.text}")
    return Label(base, tuple(name for name in STRATEGIES if name in strategies))


def combinations_page() -> str:
    """``docs/combinations.md``: every base method under every pair strategy, as Markdown."""
    words = {"released": "released", "named": "paper", "ours": "ours", "refused": "refused"}
    lines = [
        "# Base methods and pair strategies",
        "",
        "Written by `sslpairs schema` from `src/sslpairs/config/methods.py`, by which labels are read and refused.",
        "",
        "**released**: as in the paper's released code. **paper**: the paper names it and released no code. **ours**: no source",
        "defines it; the definition is this project's. **refused**: has no meaning, and a label that asks for it is an error.",
        "",
        "| | " + " | ".join(STRATEGIES.values()) + " |",
        "|---|" + "---|" * len(STRATEGIES),
    ]
    for base, title in BASES.items():
        lines.append(
            f"| {title} (`{base}`) | " + " | ".join(words[MEANINGS[name][base].status] for name in STRATEGIES) + " |"
        )
    for name, title in STRATEGIES.items():
        lines += ["", f"## {title} (`{name}`)", "", "| base | | definition |", "|---|---|---|"]
        lines += [f"| {BASES[base]} | {words[m.status]} | {m.text} |" for base, m in MEANINGS[name].items()]
    lines += [
        "",
        "## Several strategies at once",
        "",
        "No paper defines it; the order is ours. SPPS lengthens the list of items, and GPS then chooses partners for items whose",
        "two sources are the same image. MixCo mixes the augmented, normalised views; CLAE attacks view 1 of the same batch, by",
        "the base's loss alone. The loss is (1 - w_D) * [base + w_M * mixed + w_A * adversarial] + w_D * dimensional, where for",
        "SwAV and DINO base and mixed cross entropies are averaged together. Mixed and adversarial images never reach a queue, a",
        "bank, a centre, a momentum encoder or DimCL, and each strategy draws from a random stream of its own.",
        "",
    ]
    return "\n".join(lines)
