"""Base methods, one file each: settings and facts. Their computations are in the file of the same name in ``sslpairs.methods``."""

from sslpairs.config.methods.base import Method
from sslpairs.config.registry import scan

METHODS: dict[str, type[Method]] = scan(__name__, Method, "sslpairs.methods")
