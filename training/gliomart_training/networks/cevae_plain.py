"""The context-encoding variational autoencoder without tissue classes (Zimmerer et al., 2018)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from gliomart_training.networks import cevae

NETWORK = replace(
    cevae.NETWORK,
    build=partial(cevae.context_vae, tissue=False),
    recipe=replace(cevae.RECIPE, network="cevae-plain"),
    start=None,
)
