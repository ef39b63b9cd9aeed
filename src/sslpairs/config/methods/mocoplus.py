"""MoCo v2+: MoCo in both directions."""

from typing import ClassVar, Literal

from sslpairs.config.methods.moco import MoCoSettings


class MoCoPlusSettings(MoCoSettings):
    """Settings of ``methods/mocoplus.py``: symmetric, with two queues."""

    title: ClassVar[str] = "MoCo v2+"
    views: ClassVar[int] = 2
    targets: ClassVar[int] = 2
    directions: ClassVar[int] = 2

    version: Literal[2] = 2
