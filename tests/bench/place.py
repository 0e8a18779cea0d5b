"""Where a group of figures is measured: a folder of its own, and how long it may take."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that is empty, and whether the run is a quick one: small, and of one round."""

    folder: Path
    quick: bool

    @property
    def rounds(self) -> int:
        """How often each figure is measured."""
        return 1 if self.quick else 3

    def sized(self, quick: T, whole: T) -> T:
        """Return the one of the two that this run has time for."""
        return quick if self.quick else whole

    def sub(self, name: str) -> Path:
        """Make a folder in it."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        return folder


def tell(text: str) -> None:
    """Say how far it is."""
    print(f"  {text}", flush=True)
