"""results.json as types: what its keys are called and what they hold (schema 2).

These are JSON values. The published schema, docs/schema/results.json, is made from them.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from gliomart.outputs.companions import CompanionEntry  # noqa: TC001  # types are read at run time
from gliomart.outputs.drift import (  # noqa: TC001  # as above
    DriftEntry,
    PhotometryEntry,
)
from gliomart.outputs.options import Overlays  # noqa: TC001  # as above
from gliomart.outputs.provenance import Provenance
from gliomart.outputs.written import DicomEntry, MissingOutput  # noqa: TC001  # as above

SCHEMA: Literal[2] = 2


class RunSettings(TypedDict):
    """The effective settings of a run.

    Attributes
    ----------
    false_alarm_rate
        Nominal rate at which tumour-free slices are flagged, in (0, 1).
    forced
        What the model was not made for was to be analysed as well.
    plane
        Colour plane of pictures that was analysed, from 1; null where all had to be alike.
    sequence
        MR sequence that inputs were given as; null where nobody said.
    registered
        What stands beside a series and does not lie on it was to be moved onto it.
    overlays
        Slices of which overlays were to be written.
    maps, dicom
        Anomaly maps and masks, and DICOM objects, were to be written.
    identify
        The report shows paths and UIDs.
    """

    false_alarm_rate: float
    forced: bool
    plane: int | None
    sequence: str | None
    registered: bool
    overlays: Overlays
    maps: bool
    dicom: bool
    identify: bool


class Inputs(TypedDict):
    """What the inputs held.

    Attributes
    ----------
    roots
        Names of the paths given.
    files
        Number of files that were looked at.
    ignored
        Number of files that are no images.
    ignored_kinds
        The same by kind, such as a suffix.
    digest
        SHA-256 of every file's place, size and time.
    """

    roots: list[str]
    files: int
    ignored: int
    ignored_kinds: dict[str, int]
    digest: str


class Note(TypedDict):
    """What has to be told of how a series was put together and read.

    Attributes
    ----------
    code, reason
        Stable, for programs; a sentence for people.
    """

    code: str
    reason: str


class RefusalEntry(TypedDict):
    """One input that was not analysed: it must never read as negative.

    Attributes
    ----------
    source
        POSIX path that starts with the input's own name.
    frame
        Index from 0 in a file of several; null where the whole file is meant.
    code, reason
        Stable, for programs; a sentence for people.
    """

    source: str
    frame: int | None
    code: str
    reason: str


class SeriesStructure(TypedDict):
    """What a series shows of a structure that is judged by itself.

    Attributes
    ----------
    coverage
        Whether the series shows it. Where it does not, or that is not known, the rest is null:
        nothing is said about it, least of all that it is healthy.
    slices
        Number of slices that show it.
    score
        Higher is more anomalous.
    p_value
        Against the same structure of whole tumour-free series.
    flagged
        ``p_value`` is at most the false-alarm rate; null also where the model was calibrated on too
        few to tell.
    fraction_anomalous
        Share of it, in [0, 1], that is anomalous.
    """

    coverage: str
    slices: int
    score: float | None
    p_value: float | None
    flagged: bool | None
    fraction_anomalous: float | None


class SeriesEntry(TypedDict):
    """One analysed series.

    Attributes
    ----------
    id
        Series Instance UID or folder, with a number where that is not unique.
    source
        POSIX path that starts with the input's own name: of its folder, or of the file of a volume.
    sequence
        MR sequence that it is of, such as ``FLAIR`` or ``T1C`` (T1 after contrast), as its header,
        name, sidecar or ``settings.sequence`` say; null where none does, or they disagree.
    slices
        Number of slices that were analysed.
    score
        Higher is more anomalous.
    p_value
        Against whole tumour-free series.
    flagged
        ``p_value`` is at most the false-alarm rate; null where the model was calibrated on too few
        patients to tell.
    pons
        What it shows of the pons; null for a model that does not know it.
    outside_intended_use
        Codes of what spoke against analysing it.
    notes
        What has to be told of how it was put together and read.
    companions
        Further series of the examination that were to be seen beside it, and what became of each;
        empty where there is none, or the model takes none.
    overview
        Path of its overview in the output folder; null where it could not be written.
    dicom
        Its DICOM objects; null where none were asked for.
    """

    id: str
    source: str
    sequence: str | None
    slices: int
    score: float
    p_value: float
    flagged: bool | None
    pons: SeriesStructure | None
    outside_intended_use: list[str]
    notes: list[Note]
    companions: list[CompanionEntry]
    overview: str | None
    dicom: DicomEntry | None


class Geometry(TypedDict):
    """Where a slice lies in the patient; null what is not known.

    Attributes
    ----------
    position_lps_mm
        Image Position (Patient): LPS, mm (DICOM PS3.3 C.7.6.2.1.1).
    orientation
        Image Orientation (Patient): row and column direction cosines.
    spacing_mm
        Distance between rows and columns in mm.
    """

    position_lps_mm: list[float] | None
    orientation: list[float] | None
    spacing_mm: list[float] | None


class RegionEntry(TypedDict):
    """A connected anomalous region of a slice.

    Attributes
    ----------
    box
        Left, upper, and one past the right and lower edge, in source pixels.
    area_px, area_mm2
        Its size; in mm² where the spacing is known.
    centroid
        Mean (x, y) of its pixels.
    centroid_lps_mm
        The same in the patient (LPS, mm), where it is known how the slice lies.
    peak
        Highest value of the anomaly map inside.
    """

    box: list[int]
    area_px: int
    area_mm2: float | None
    centroid: list[float]
    centroid_lps_mm: list[float] | None
    peak: float


class SliceStructure(TypedDict):
    """What a slice shows of a structure that is judged by itself.

    Attributes
    ----------
    visible
        The slice shows enough of it for it to be judged; where not, the rest is null.
    score
        Higher is more anomalous.
    p_value
        Against the same structure of tumour-free slices.
    flagged
        ``p_value`` is at most the false-alarm rate; null also where the model was calibrated on too
        few to tell.
    fraction_anomalous
        Share of it, in [0, 1], that is anomalous.
    box
        Left, upper, and one past the right and lower edge, in source pixels.
    """

    visible: bool
    score: float | None
    p_value: float | None
    flagged: bool | None
    fraction_anomalous: float | None
    box: list[int] | None


class StageTimes(TypedDict):
    """Milliseconds that a slice took in each stage.

    Attributes
    ----------
    read, preprocess, infer, score, write
        A series' shared work is divided among its slices.
    """

    read: float
    preprocess: float
    infer: float
    score: float
    write: float


class SliceEntry(TypedDict):
    """One analysed slice.

    Attributes
    ----------
    series
        Series Instance UID or folder.
    source
        POSIX path that starts with the input's own name.
    sop_instance_uid
        Of the DICOM image that it is; null for one put together from several, or not of DICOM.
    frame
        Index from 0 in a file of several.
    geometry
        Where it lies in the patient.
    outside_intended_use
        Codes of what spoke against analysing it.
    score
        Higher is more anomalous.
    p_value
        Conformal, against tumour-free slices.
    flagged
        ``p_value`` is at most the false-alarm rate.
    regions
        Where it is anomalous, highest peak first.
    pons
        What it shows of the pons; null for a model that does not know it.
    overlay, map, mask
        Paths in the output folder; null for what was not written.
    ms
        Time per stage.
    photometry
        Of its brain, for a watch for drift; missing where none was asked for, null where too
        little brain is in it.
    """

    series: str
    source: str
    sop_instance_uid: str | None
    frame: int | None
    geometry: Geometry
    outside_intended_use: list[str]
    score: float
    p_value: float
    flagged: bool
    regions: list[RegionEntry]
    pons: SliceStructure | None
    overlay: str | None
    map: str | None
    mask: str | None
    ms: StageTimes
    photometry: NotRequired[PhotometryEntry | None]


class Header(Provenance):
    """What is known before the first slice.

    Attributes
    ----------
    schema
        Number of this schema; it rises when a key changes its meaning.
    settings
        The effective ones.
    inputs
        What they held.
    """

    schema: Literal[2]
    settings: RunSettings
    inputs: Inputs


class Results(Header):
    """The content of results.json.

    Attributes
    ----------
    series, slices
        What was analysed; slices are in the order of their series.
    not_analysed
        What was not, and why.
    not_written
        Outputs that could not be written; missing where there are none.
    drift
        What a watch for drift counted of each study; missing where none was asked for.
    """

    series: list[SeriesEntry]
    slices: list[SliceEntry]
    not_analysed: list[RefusalEntry]
    not_written: NotRequired[list[MissingOutput]]
    drift: NotRequired[list[DriftEntry]]
