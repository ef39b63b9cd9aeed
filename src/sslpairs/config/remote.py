"""Files on the internet: what is known about them before they are downloaded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """A file that a data set's authors (or others) publish, with what is on record about it."""

    name: str
    """Its name on disk."""
    urls: tuple[str, ...]
    """Addresses, the best one first; others are tried in turn. Empty if the file must be obtained by hand."""
    bytes: int | None = None
    """Its exact size, or None if that is not on record."""
    sha256: str | None = None
    """Of published data sets in full; of others perhaps only the first digits, which are compared then."""
    md5: str | None = None
    """Compared only where no sha256 is on record: md5 does not protect against a forged file."""
    connections: int = 1
    """Connections at once: more where a host limits the speed of each."""

    @property
    def digest(self) -> tuple[str, str] | None:
        """The name of the algorithm and the digest to compare, the strongest on record; None if there is none."""
        if self.sha256:
            return "sha256", self.sha256
        return ("md5", self.md5) if self.md5 else None
