"""What is wrong with a detector, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; what is not grave is worth a look, and does not keep a detector from serving."""

    what: str
    remedy: str
    grave: bool = True
