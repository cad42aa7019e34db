"""Recipes: everything that decides what comes out of a training, the data aside."""

from __future__ import annotations

from dataclasses import dataclass, field

from gliomart_training.residual import AnomalyMap, Residual


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, and what becomes of its residual once it is.

    Attributes
    ----------
    network, corruption
        Names of a network (:mod:`.networks`) and of a corruption (``corruption.CORRUPTIONS``).
    epochs, batch_size, learning_rate, weight_decay
        Of AdamW with a cosine schedule, from a linear warm-up over the first twentieth.
    cell
        The squared error is taken between means over cells of this many pixels a side: a network
        that corrects on a coarser grid than the image's is not asked for more. (With the mean
        absolute error a denoiser stays at the identity: most pixels carry no noise.)
    brain_weight
        Of the brain's cross-entropy, beside the squared error.
    heads
        Simulated heads that are learned from beside patients, whoever is held out.
    seed
        Of weights, order, variation and corruption.
    residual
        How the network's outputs become the anomaly map: of most, the difference of image and
        reconstruction.
    """

    network: str
    corruption: str = "brain"
    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    cell: int = 4
    brain_weight: float = 0.003
    heads: int = 0
    seed: int = 0
    residual: AnomalyMap = field(default_factory=Residual)


@dataclass(frozen=True)
class PonsRecipe:
    """How a pons localiser is trained.

    Attributes
    ----------
    steps, batch_size, learning_rate, weight_decay
        Of AdamW with a cosine schedule, from a linear warm-up over the first twentieth.
    shown
        Fraction of a batch that shows the pons.
    corrupted
        Fraction of a batch that noise shaped like lesions is added to.
    recoloured
        Standard deviation of the logarithm of a factor that the pons is multiplied by, and what
        lies about it with a softness drawn anew. Brightness then says nothing about where the pons
        is, and one that is far brighter than usual is still found (domain randomisation: Billot et
        al., SynthSeg, Medical Image Analysis 2023).
    bend
        Standard deviation of a smooth displacement, in pixels of the localiser's grid. Every pons
        then has a size and shape of its own, and the localiser learns to follow its border rather
        than to expect the usual.
    simulated
        Fraction of a batch that is from simulated heads.
    seed
        Of weights, order and variation.
    """

    steps: int = 700
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    shown: float = 0.6
    corrupted: float = 0.4
    recoloured: float = 0.3
    bend: float = 1.2
    simulated: float = 0.25
    seed: int = 0


@dataclass(frozen=True)
class BrainRecipe:
    """How a brain localiser is trained.

    Attributes
    ----------
    steps, batch_size, learning_rate, weight_decay
        Of AdamW with a cosine schedule, from a linear warm-up over the first twentieth. The command
        takes 80 steps for every epoch of the autoencoder, up to these.
    lesions
        Fraction of a batch with lesions in the brain, and in what surrounds it.
    lesion_strength
        Range of their brightness; normalised images have the brain at 0.4, and end at 1.
    around
        Fraction of a batch in which what surrounds the brain is made darker or brighter, down to
        what fat suppression leaves: the brain is to be known by its shape, not by its scalp.
    around_gain
        Range of the factor.
    bare, thin
        Fraction of a batch of which only the brain is left, and whose head lacks its outermost
        layer.
    bend
        Standard deviation of a smooth displacement, in pixels of the localiser's grid.
    simulated
        Fraction of a batch that is from simulated heads, whose brain is known.
    heads
        Number of simulated heads.
    seed
        Of weights, heads, order and variation.
    """

    steps: int = 2400
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    lesions: float = 0.65
    lesion_strength: tuple[float, float] = (0.1, 1.0)
    around: float = 0.6
    around_gain: tuple[float, float] = (0.12, 2.5)
    bare: float = 0.15
    thin: float = 0.12
    bend: float = 0.8
    simulated: float = 0.5
    heads: int = 30
    seed: int = 0
