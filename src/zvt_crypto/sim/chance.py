"""Chance, given as an argument: a numpy Generator read in blocks, so that single draws are cheap."""

from __future__ import annotations

import hashlib
import math

import numpy as np


def generator(*words: object) -> np.random.Generator:
    """A Generator that depends on the words alone: the same in every process, whatever its hash seed."""
    digest = hashlib.sha256("\x1f".join(str(word) for word in words).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


class Chance:
    """Uniform, exponential, normal and whole numbers from one Generator, always in the same order."""

    def __init__(self, rng: np.random.Generator, block: int = 2048) -> None:
        self._rng = rng
        self._block = block
        self._drawn: list[float] = []

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        if not self._drawn:
            self._drawn = self._rng.random(self._block).tolist()
        return self._drawn.pop()

    def exponential(self, mean: float) -> float:
        """Waiting time with the given mean."""
        return -mean * math.log(1.0 - self.unit())

    def normal(self) -> float:
        """Standard normal (Box and Muller)."""
        return math.sqrt(-2.0 * math.log(1.0 - self.unit())) * math.cos(2.0 * math.pi * self.unit())

    def below(self, count: int) -> int:
        """A whole number in [0, count)."""
        return int(self.unit() * count)
