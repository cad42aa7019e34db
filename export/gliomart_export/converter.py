"""All networks of a run converted alike, and each compared with Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gliomart_export import conversion, precision
from gliomart_training import network_file

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto

    from gliomart.model.card import ModelCard
    from gliomart.model.contents import GraphOutput
    from gliomart_export.precision import Precision, PrecisionPlan
    from gliomart_export.run import Run

# Held-out slices that parity is checked on, and those that ranges of integers are taken from.
_PARITY_SLICES = 8
_RANGE_SLICES = 64


class Converted(NamedTuple):
    """A graph, and how far each of its outputs is from the network's at most."""

    graph: ModelProto
    parity: dict[str, float]


@dataclass(frozen=True)
class Converter:
    """How the networks of a run are converted.

    Attributes
    ----------
    run
        Whose networks they are.
    precision
        Decided for the final network; the folds that calibrate it compute as it does.
    outputs
        What the graphs give: what the final network does, and the anomaly map.
    compared_on, ranges_from
        float32 (N, size, size, C): slices that parity is checked on, and those that the ranges of
        integers are taken from.
    """

    run: Run
    precision: PrecisionPlan
    outputs: tuple[GraphOutput, ...]
    compared_on: NDArray[np.float32]
    ranges_from: NDArray[np.float32]

    @classmethod
    def of(cls, run: Run, wanted: Precision) -> Converter:
        """Decide by a run's final network.

        Raises
        ------
        ModelError
            It cannot be read.
        DatasetError
            No slice was held out to compare on.
        """
        compared_on, ranges_from = run.unseen_images([_PARITY_SLICES, _RANGE_SLICES])
        network = network_file.load(run.network, run.preprocessing)
        graph = conversion.to_onnx(network, run.residual)
        plan = precision.choose(wanted, graph, compared_on)
        return cls(run, plan, conversion.declared_outputs(graph), compared_on, ranges_from)

    def convert(self, file: Path, card: ModelCard) -> Converted:
        """Convert one network.

        Raises
        ------
        ModelError
            It cannot be read, or its graph differs from it.
        """
        residual = self.run.residual
        network = network_file.load(file, self.run.preprocessing)
        exact = conversion.to_onnx(network, residual)
        content = conversion.with_card(exact, card)
        conversion.parity(network, residual, content, self.compared_on)
        graph = precision.converted(exact, self.precision, self.ranges_from)
        parity = conversion.parity(
            network,
            residual,
            conversion.with_card(graph, card),
            self.compared_on,
            self.precision.precision,
        )
        return Converted(graph, parity)
