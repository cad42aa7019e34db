"""What a network declares of itself: how it is built, what its outputs are held to, its recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import keras
from keras import ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from keras import KerasTensor

    from gliomart.image.steps import Preprocessing
    from gliomart.model.contents import Slab
    from gliomart_training.batches import PreparedImages, Teacher
    from gliomart_training.recipe import Recipe


class Loss(NamedTuple):
    """What an output is held to: a function of truth and output, and its weight in the sum.

    ``truth`` names what the batches bring, where it is called otherwise than the output.
    """

    function: Callable[[KerasTensor, KerasTensor], KerasTensor]
    weight: float
    truth: str | None = None


def usual_losses(recipe: Recipe) -> dict[str, Loss]:
    """Squared error of the reconstruction and cross-entropy of the brain, cell by cell."""
    return {
        "reconstruction": Loss(on_cells(keras.losses.mean_squared_error, recipe.cell), 1.0),
        "brain": Loss(on_cells(keras.losses.binary_crossentropy, recipe.cell), recipe.brain_weight),
    }


def on_cells(
    loss: Callable[[KerasTensor, KerasTensor], KerasTensor], cell: int
) -> Callable[[KerasTensor, KerasTensor], KerasTensor]:
    """Take a loss between means over cells of so many pixels a side."""

    def mean_of_cells(truth: KerasTensor, output: KerasTensor) -> KerasTensor:
        coarse = (ops.average_pool(slices_apart(values), cell) for values in (truth, output))
        return loss(*coarse)

    return mean_of_cells


def slices_apart(values: KerasTensor) -> KerasTensor:
    """Take slabs (N, D, H, W, C) apart into slices (N · D, H, W, C); slices stay as they are."""
    apart = len(values.shape) == 5  # noqa: PLR2004
    return ops.reshape(values, (-1, *values.shape[2:])) if apart else values


class Bases(NamedTuple):
    """What a network is built on: what its bases are to it, and how many it takes.

    ``gives`` is an output that each of them has to have.
    """

    role: Literal["encoder", "member", "teacher"]
    fewest: int
    most: int
    gives: str = "reconstruction"


@dataclass(frozen=True)
class Base:
    """The network of another run that a network builds on: trained for the same job.

    Attributes
    ----------
    declared
        What it declares of itself.
    network
        As trained, for whole images, before localisers were joined to it. It has not seen the
        patients whom the job holds out.
    """

    declared: Network
    network: keras.Model

    def at(self, side: int) -> keras.Model:
        """Build it for images of another side, with the same weights."""
        (_, _, _, channels) = self.network.input_shape
        other = self.declared.build(side, channels)
        other.set_weights(self.network.get_weights())
        return other


@dataclass(frozen=True)
class Learning:
    """What a network learns from beside batches.

    Attributes
    ----------
    images
        Tumour-free slices that the job does not hold out.
    spec
        How they were prepared.
    recipe
        How the network is trained.
    bases
        Networks of other runs that it builds on.
    """

    images: PreparedImages
    spec: Preprocessing
    recipe: Recipe
    bases: tuple[Base, ...] = ()


@dataclass(frozen=True)
class Network:
    """A kind of network, with all that training and export have to know of it.

    Attributes
    ----------
    build
        From the side of an image, a multiple of 32, and its channels to an untrained network. It
        takes ``image`` (N, size, size, channels) and gives a dictionary with ``brain`` (N, size,
        size, 1) in [0, 1], the probability that a pixel lies in the brain, and with whatever its
        anomaly map is made of: usually ``reconstruction``, of the same shape as the image. The same
        weights fit every size.
    recipe
        How it is trained unless the command says otherwise; it names the corruption and how outputs
        become the anomaly map.
    losses
        Of a recipe: what each output is held to, by name. ``batches`` brings the truth for
        ``reconstruction`` and ``brain``, and for ``lesion`` where it is supervised; an output
        without a loss is not trained by itself. A network without any is not trained by steps.
    layers
        Kinds of Keras' own layers that it is made of beyond those in ``network_file.LAYERS``. A
        network with others is not read from its file.
    outputs
        Names of its outputs beyond ``reconstruction`` and ``brain``, (N, size, size, any) each.
    supervised
        It learns from tumour masks. Such a network, and whatever is built on one, is there for
        comparison: it is exported as such alone, and never built in.
    bases
        Which networks of other runs it builds on; None where on none.
    start
        Sets weights of an untrained network that are not trained by steps.
    taught
        Gives, for batches of images of a side, truths that bases tell: a function from images to
        truths by name.
    settle
        Makes what is saved of a trained network, for whole images: with statistics of healthy
        images, or with its bases. It is built for one size, and keeps what was trained.
    companions
        Further sequences that it takes where they are there, in the order of their channels, which
        follow those of the first.
    slab
        Neighbouring slices that it sees together: ``image`` is (N, seen, size, size, channels), and
        outputs are (N, given, size, size, any). None where it sees each by itself.
    residual_of_base
        Its anomaly map is made as that of the run which it is built on, where there is one: it is
        the control of that run.
    """

    build: Callable[[int, int], keras.Model]
    recipe: Recipe
    losses: Callable[[Recipe], dict[str, Loss]] = field(default=usual_losses)
    layers: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    supervised: bool = False
    bases: Bases | None = None
    start: Callable[[keras.Model, Learning], None] | None = None
    taught: Callable[[Learning, int], Teacher] | None = None
    settle: Callable[[keras.Model, Learning], keras.Model] | None = None
    companions: tuple[str, ...] = ()
    residual_of_base: bool = False
    slab: Slab | None = None

    def depth(self, spec: Preprocessing) -> int:
        """Count the channels of its input."""
        return len(spec.channels) * (1 + len(self.companions))

    def input_shape(self, side: int, channels: int) -> tuple[int, ...]:
        """Shape of what it is given at a time, without the batch."""
        image = (side, side, channels)
        return image if self.slab is None else (self.slab.seen, *image)
