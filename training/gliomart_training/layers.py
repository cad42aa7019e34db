"""Layers that several networks are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from keras import KerasTensor


def convolution(x: KerasTensor, filters: int, *, kernel: int = 3, strides: int = 1) -> KerasTensor:
    """Convolve, normalise and rectify."""
    x = layers.Conv2D(filters, kernel, strides, padding="same", kernel_initializer="he_normal")(x)
    # Training does not leave the identity without normalisation. An exported graph has it folded
    # into the convolutions.
    x = layers.BatchNormalization(momentum=0.95)(x)
    return layers.ReLU()(x)


def upsample(x: KerasTensor, factor: int = 2) -> KerasTensor:
    """Enlarge bilinearly."""
    return layers.UpSampling2D(factor, interpolation="bilinear")(x)


def brain_output(x: KerasTensor, factor: int) -> KerasTensor:
    """Make the output ``brain`` of the last features, ``factor`` times coarser than the image."""
    return layers.Activation("sigmoid", name="brain")(upsample(brain_logits(x), factor))


def brain_logits(x: KerasTensor) -> KerasTensor:
    """Make logits of where the brain is, as coarse as the features."""
    return layers.Conv2D(1, 3, padding="same")(x)


@keras.saving.register_keras_serializable("gliomart")
class DepthToSpace(layers.Layer):
    """Rearrange (N, H, W, 4 C) into (N, 2 H, 2 W, C) (Shi et al., CVPR 2016)."""

    def call(self, inputs: KerasTensor) -> KerasTensor:  # noqa: D102
        _, height, width, depth = inputs.shape
        x = ops.reshape(inputs, (-1, height, width, 2, 2, depth // 4))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, 2 * height, 2 * width, depth // 4))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        batch, height, width, depth = input_shape
        assert height is not None and width is not None and depth is not None  # noqa: PT018, S101
        return (batch, 2 * height, 2 * width, depth // 4)


@keras.saving.register_keras_serializable("gliomart")
class SlicesApart(layers.Layer):
    """Take slabs (N, D, H, W, C) apart into their slices (N · D, H, W, C)."""

    def call(self, inputs: KerasTensor) -> KerasTensor:  # noqa: D102
        return ops.reshape(inputs, (-1, *inputs.shape[2:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        return (None, *input_shape[2:])


class _OfSlabs(layers.Layer):
    """A layer whose inputs are slices (N · D, H, W, C) of slabs of ``depth`` slices D."""

    def __init__(self, depth: int, **options: Any) -> None:  # noqa: ANN401  # as Keras has them
        super().__init__(**options)
        self.depth = depth

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "depth": self.depth}

    def _slabs(self, inputs: KerasTensor) -> KerasTensor:
        return ops.reshape(inputs, (-1, self.depth, *inputs.shape[1:]))


@keras.saving.register_keras_serializable("gliomart")
class SlicesTogether(_OfSlabs):
    """Put slices (N · D, H, W, C) together into slabs (N, D, H, W, C)."""

    def call(self, inputs: KerasTensor) -> KerasTensor:  # noqa: D102
        return self._slabs(inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        return (None, self.depth, *input_shape[1:])


@keras.saving.register_keras_serializable("gliomart")
class BesideNeighbours(_OfSlabs):
    """Put the channels of a slice's neighbours beside its own: (N · (D - 2), H, W, 3 C).

    The first and last slice of a slab have one neighbour only and are left out. With a convolution
    after it, that is one in three dimensions, of ONNX operators that run as fast as any on images.
    """

    def call(self, inputs: KerasTensor) -> KerasTensor:  # noqa: D102
        slabs = self._slabs(inputs)
        beside = ops.concatenate([slabs[:, :-2], slabs[:, 1:-1], slabs[:, 2:]], axis=-1)
        return ops.reshape(beside, (-1, *beside.shape[2:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        *same, channels = input_shape
        assert channels is not None  # noqa: S101
        return (None, *same[1:], 3 * channels)


@keras.saving.register_keras_serializable("gliomart")
class MiddleSlices(_OfSlabs):
    """Keep ``given`` slices in the middle of every slab: (N · given, H, W, C)."""

    def __init__(self, depth: int, given: int, **options: Any) -> None:  # noqa: ANN401
        super().__init__(depth, **options)
        self.given = given

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        return {**super().get_config(), "given": self.given}

    def call(self, inputs: KerasTensor) -> KerasTensor:  # noqa: D102
        first = (self.depth - self.given) // 2
        middle = self._slabs(inputs)[:, first : first + self.given]
        return ops.reshape(middle, (-1, *inputs.shape[1:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        return (None, *input_shape[1:])
