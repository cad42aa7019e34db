"""Chance that hangs on a name alone: what is drawn for a patient is drawn alike every time."""

from __future__ import annotations

import hashlib

import numpy as np


def generator_of(name: str) -> np.random.Generator:
    """Draw alike for the same name, whatever else is drawn."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
