"""A simulated head as a DICOM study: one uncompressed or RLE-compressed MR file per slice.

`python -m gliomart_training.simulated_study OUT --lesion` writes the study and `lesion.csv`,
which says for each file whether and how much of a glioma it shows.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, RLELossless, generate_uid

from gliomart.cli.arguments import ArgumentParser
from gliomart.errors import GliomartError
from gliomart.host import extras
from gliomart.outputs.folder import write_atomically

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart_training.simulation import SimulatedHead

BITS_STORED = 12


def write_study(
    directory: Path, head: SimulatedHead, *, seed: int, rle: bool = False
) -> list[Path]:
    """Write one MR Image Storage file per slice: a single series, lowest slice first.

    Parameters
    ----------
    directory : pathlib.Path
        Where to write; made if missing. Files of the same name are replaced, each at once.
    head : SimulatedHead
        The slices and their geometry, (Z, H, W); signals are rounded into 12 bits.
    seed : int
        With the pixels it decides every UID: equal heads give equal files.
    rle : bool, default=False
        Compress the pixels losslessly (RLE Lossless) rather than leave them native.

    Returns
    -------
    list of pathlib.Path
        The files, in slice order.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stored = np.clip(np.rint(head.pixels), 0, 2**BITS_STORED - 1).astype(np.uint16)
    identity = [str(seed), hashlib.sha256(stored.tobytes()).hexdigest()]
    files = []
    for index, pixels in enumerate(stored):
        file = directory / f"slice_{index + 1:03d}.dcm"
        image = _image(head, index, pixels, identity)
        if rle:
            image.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        content = io.BytesIO()
        image.save_as(content, enforce_file_format=True)
        write_atomically(file, content.getvalue())
        files.append(file)
    return files


def _image(
    head: SimulatedHead, index: int, pixels: NDArray[np.uint16], identity: Sequence[str]
) -> Dataset:
    """Describe one slice; `identity` is what its UIDs are derived from."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    _add_study(image, identity)
    _add_instance(image, index, identity)
    _add_acquisition(image)
    _add_geometry(image, head, index, pixels.shape, identity)
    image.WindowCenter = 450
    image.WindowWidth = 900
    image.set_pixel_data(pixels, "MONOCHROME2", BITS_STORED, generate_instance_uid=False)
    return image


def _add_study(image: Dataset, identity: Sequence[str]) -> None:
    """Say whose image it is, of which study and series; nobody's, as far as names go."""
    image.PatientName = "Simulated^Head"
    image.PatientID = f"SIMULATED-{identity[0]}"
    image.PatientBirthDate = ""
    image.PatientSex = ""

    image.StudyInstanceUID = generate_uid(entropy_srcs=[*identity, "study"])
    image.StudyID = "1"
    image.StudyDate = ""
    image.StudyTime = ""
    image.AccessionNumber = ""
    image.ReferringPhysicianName = ""

    image.SeriesInstanceUID = generate_uid(entropy_srcs=[*identity, "series"])
    image.SeriesNumber = 1
    image.SeriesDescription = "AX FLAIR (simulated)"
    image.Modality = "MR"
    image.Manufacturer = "gliomart"
    image.BodyPartExamined = "BRAIN"
    image.PatientPosition = "HFS"


def _add_instance(image: Dataset, index: int, identity: Sequence[str]) -> None:
    """Say which image of the series it is, and that it was simulated."""
    image.SOPClassUID = MRImageStorage
    image.SOPInstanceUID = generate_uid(entropy_srcs=[*identity, f"slice {index}"])
    image.InstanceNumber = index + 1
    image.ImageType = ["DERIVED", "PRIMARY", "OTHER", "SIMULATED"]
    image.DerivationDescription = (
        "Simulated from the ICBM 152 template, copyright 1993-2004 Louis Collins, McConnell Brain "
        "Imaging Centre, Montreal Neurological Institute, McGill University. Shows no person."
    )
    image.BurnedInAnnotation = "NO"


def _add_acquisition(image: Dataset) -> None:
    """Say how a scanner would have taken it: FLAIR."""
    image.ScanningSequence = ["SE", "IR"]
    image.SequenceVariant = "SK"
    image.ScanOptions = ""
    image.MRAcquisitionType = "2D"
    image.RepetitionTime = 9000
    image.EchoTime = 120
    image.EchoTrainLength = 16
    image.InversionTime = 2500


def _add_geometry(
    image: Dataset,
    head: SimulatedHead,
    index: int,
    shape: tuple[int, ...],
    identity: Sequence[str],
) -> None:
    """Say where it lies: DICOM counts x to the patient's left and y to the back, as here."""
    height = head.lowest + index * head.slice_spacing
    row_spacing, column_spacing = (round(spacing, 6) for spacing in head.spacing)
    rows, columns = shape
    image.FrameOfReferenceUID = generate_uid(entropy_srcs=[*identity, "frame of reference"])
    image.PositionReferenceIndicator = ""
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.ImagePositionPatient = [
        round(-column_spacing * (columns - 1) / 2, 6),
        round(-row_spacing * (rows - 1) / 2, 6),
        round(height, 6),
    ]
    image.PixelSpacing = [row_spacing, column_spacing]
    image.SliceThickness = round(head.slice_thickness, 6)
    image.SpacingBetweenSlices = round(head.slice_spacing, 6)
    image.SliceLocation = round(height, 6)


def write_truth(file: Path, head: SimulatedHead, slices: Sequence[Path]) -> None:
    """List each slice's file, whether it shows the glioma, and the areas of glioma and pons."""
    table = io.StringIO(newline="")
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["file", "lesion", "lesion_pixels", "pons_pixels"])
    for path, lesion, pons in zip(slices, head.lesion, head.pons, strict=True):
        rows.writerow([path.name, int(lesion.any()), int(lesion.sum()), int(pons.sum())])
    write_atomically(file, table.getvalue().encode())


def _simulate(chosen: argparse.Namespace) -> SimulatedHead:
    with extras.needed("simulating a head", "simulation", "nilearn"):
        # Here, because nilearn is an extra and slow to load.
        from gliomart_training.simulation import PontineGlioma, simulate_head
    return simulate_head(
        slices=chosen.slices,
        size=chosen.size,
        seed=chosen.seed,
        lesion=PontineGlioma() if chosen.lesion else None,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate a head and write it as a DICOM study.

    Parameters
    ----------
    arguments : sequence of str or None, default=None
        The command line without the program's name; None reads `sys.argv`.

    Returns
    -------
    int
        Exit status: 0, or 7 where the extra `gliomart[simulation]` is missing.
    """
    parser = ArgumentParser(
        prog="python -m gliomart_training.simulated_study",
        description="Simulate a head from the ICBM 152 template and write it as a DICOM study.",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="directory to write into")
    parser.add_argument("--slices", type=int, default=24, help="medulla to vertex (24)")
    parser.add_argument("--size", type=int, default=256, help="rows and columns (256)")
    parser.add_argument("--seed", type=int, default=0, help="which head (0)")
    parser.add_argument("--lesion", action="store_true", help="with a pontine glioma")
    parser.add_argument("--rle", action="store_true", help="compress losslessly")
    try:
        chosen = parser.parse_args(arguments)
        head = _simulate(chosen)
    except GliomartError as error:
        print(f"gliomart: {error}", file=sys.stderr)
        return error.exit_status
    slices = write_study(chosen.out, head, seed=chosen.seed, rle=chosen.rle)
    write_truth(chosen.out / "lesion.csv", head, slices)
    return 0


if __name__ == "__main__":
    sys.exit(main())
