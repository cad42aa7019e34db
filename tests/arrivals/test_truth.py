"""Masks of every kind reach the slices of their images by where they lie, or are refused."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gliomart import sources
from gliomart.errors import DatasetError
from gliomart.image.slices import Slice
from gliomart_training import dataset
from gliomart_training.patients import Patient, count_masks, doubts
from gliomart_training.truth.image import Image
from gliomart_training.truth.marks import Choice
from truths import SPACING, affine, drawn, head, restored, save, truth, write_series

pytest.importorskip("nibabel")

ORDERS = list(permutations(range(3)))
FLIPS = list(product([False, True], repeat=3))


def of_files(image: Path, mask: Path, *labels: str) -> Image:
    (series,) = sources.scan([image]).series
    return Image.of(series.files, series.source, mask, Choice(labels), listed=True)


def marked_values(image: Image) -> list[float]:
    """Collect the values of the image where its mask marks: whatever way both are turned."""
    found: list[float] = []
    for item, marks in zip(image.items, image.marks, strict=True):
        if isinstance(item, Slice) and marks is not None:
            found += item.pixels[marks].tolist()
    return sorted(found)


# Volumes.


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(ORDERS),
    st.sampled_from(FLIPS),
    st.sampled_from(ORDERS),
    st.sampled_from(FLIPS),
    st.floats(-40, 40),
)
def test_a_mask_marks_the_voxels_it_was_drawn_on_however_both_are_stored(
    tmp_path: Path,
    order: tuple[int, ...],
    flips: tuple[bool, ...],
    mask_order: tuple[int, ...],
    mask_flips: tuple[bool, ...],
    turn: float,
) -> None:
    voxels, placed = head(), affine(turn)
    image = save(tmp_path / "x.nii", *restored(voxels, placed, order, flips))
    mask = save(tmp_path / "m.nii", *restored(truth(), placed, mask_order, mask_flips))
    assert marked_values(of_files(image, mask)) == sorted(voxels[truth() > 0].tolist())


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(range(3)),
    st.one_of(st.floats(0.3, 0.7), st.floats(1.3, 1.7), st.floats(40, 60)),
    st.sampled_from([-1, 1]),
)
def test_a_mask_that_lies_between_or_beyond_its_images_voxels_is_refused(
    tmp_path: Path, axis: int, voxels: float, sign: int
) -> None:
    placed = affine(12)
    image = save(tmp_path / "x.nii", head(), placed)
    placed[:3, 3] += placed[:3, axis] * voxels * sign
    mask = save(tmp_path / "m.nii", truth(), placed)
    with pytest.raises(DatasetError, match=r"m\.nii: .*(lies between|elsewhere)"):
        of_files(image, mask)


GRIDS = {
    "finer": (np.repeat(truth(), 2, axis=0), affine(spacing=(0.5, *SPACING[1:]))),
    "coarser": (truth()[::2], affine(spacing=(2.0, *SPACING[1:]))),
    "same matrix, other size": (truth(), affine(spacing=(1.1, 1.5, 5.0))),
    "turned": (truth(), affine(3)),
    "nearer slices": (truth(), affine(spacing=(1.0, 1.5, 4.0))),
    "fewer slices": (truth()[:, :, :9], affine()),
    "cropped": (truth()[:, :30], affine()),
}


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        ("finer", "80x36 pixels, not of the size"),
        ("coarser", "20x36 pixels, not of the size"),
        ("same matrix, other size", "1.1 times the size.*own grid first"),
        ("turned", "turned against its image.*own grid first"),
        ("nearer slices", "has slices 4 mm apart, its image 5 mm"),
        ("fewer slices", "has 9 slices, its image 12"),
        ("cropped", "40x30 pixels, not of the size"),
    ],
)
def test_a_mask_on_another_grid_is_refused_and_says_which(
    grid: str, reason: str, tmp_path: Path
) -> None:
    image = save(tmp_path / "x.nii", head(), affine())
    mask = save(tmp_path / "m.nii", *GRIDS[grid])
    with pytest.raises(DatasetError, match=rf"m\.nii: .*{reason}") as refused:
        of_files(image, mask)
    assert "\n" not in str(refused.value)


def test_a_mask_of_several_volumes_is_refused_and_one_of_a_single_fourth_dimension_is_not(
    tmp_path: Path,
) -> None:
    image = save(tmp_path / "x.nii", head(), affine())
    four = np.stack([truth(), 1 - truth()], axis=-1)
    with pytest.raises(DatasetError, match=r"4 dimensions \(40, 36, 12, 2\), not one volume"):
        of_files(image, save(tmp_path / "m.nii", four, affine()))
    one = save(tmp_path / "m.nii", truth()[..., np.newaxis], affine())
    assert marked_values(of_files(image, one)) == sorted(head()[truth() > 0].tolist())


def test_labels_are_chosen_and_several_are_told(tmp_path: Path) -> None:
    labels = truth() * 2
    labels[30:33, 10:12, 6] = 4
    image = save(tmp_path / "x.nii", head(), affine())
    mask = save(tmp_path / "x_seg.nii", labels, affine())
    for chosen in ((), ("2",), ("4",), ("2", "4.0"), ("7",)):
        values = [float(label) for label in chosen] or [2.0, 4.0]
        expected = sorted(head()[np.isin(labels, values)].tolist())
        assert marked_values(of_files(image, mask, *chosen)) == expected
    (told,) = doubts(dataset.load(tmp_path))
    assert "1 of 1 masks hold several labels" in told
    assert "(2, 4)" in told
    assert doubts(dataset.load(tmp_path, choice=Choice(("4",)))) == []
    (nothing,) = doubts(dataset.load(tmp_path, choice=Choice(("7",))))
    assert "none of the 1 masks marks anything" in nothing


def test_a_volume_that_does_not_say_where_it_lies_fits_none_that_does(tmp_path: Path) -> None:
    from niftis import volume

    image = save(tmp_path / "x.nii", head(), affine())
    (tmp_path / "m.nii").write_bytes(volume(truth()))
    with pytest.raises(DatasetError, match="does not say where it lies, and its image does"):
        of_files(image, tmp_path / "m.nii")
    (tmp_path / "y.nii").write_bytes(volume(head().astype("i2")))
    with pytest.raises(DatasetError, match="says where it lies, and its image"):
        of_files(tmp_path / "y.nii", save(tmp_path / "m2.nii", truth(), affine()))
    assert len(marked_values(of_files(tmp_path / "y.nii", tmp_path / "m.nii"))) == truth().sum()


def test_slices_in_which_nothing_is_to_be_seen_do_not_move_marks(tmp_path: Path) -> None:
    voxels = head()
    voxels[:, :, :2] = 0
    image = save(tmp_path / "x.nii", *restored(voxels, affine(), (2, 0, 1), (True, False, True)))
    mask = save(tmp_path / "m.nii", truth(), affine())
    read = of_files(image, mask)
    assert [isinstance(item, Slice) for item in read.items] == [n > 1 for n in range(12)]
    assert marked_values(read) == sorted(voxels[truth() > 0].tolist())


# DICOM.


def test_a_volume_marks_the_dicom_series_that_it_was_converted_from(tmp_path: Path) -> None:
    write_series(tmp_path / "p1")
    # As converters store it: x, y, z, in RAS, rows from below.
    marks = drawn().transpose(2, 1, 0)[:, ::-1]
    placed = np.diag([-1.25, 1.0, 5.0, 1.0])
    placed[:3, 3] = (40.0, 30.0 - 55, -30.0)
    save(tmp_path / "m.nii.gz", marks, placed)
    rows = ["image,mask,patient", "p1,m.nii.gz,one"]
    (tmp_path / "index.csv").write_text("\n".join(rows))
    (patient,) = dataset.load(tmp_path)
    assert patient.id == "one"
    assert np.array_equal(np.stack([e.truth() for e in patient.examples]), drawn() > 0)
    assert patient.examples[0].slice.source == "p1/00.dcm"


def test_an_index_gives_a_folder_of_one_series(tmp_path: Path) -> None:
    write_series(tmp_path / "p" / "a")
    write_series(tmp_path / "p" / "b")
    (tmp_path / "index.csv").write_text("image,mask,patient\np/a,,one\np/b/,,two\n")
    assert [len(p.examples) for p in dataset.load(tmp_path)] == [12, 12]
    (tmp_path / "index.csv").write_text("image,mask,patient\np,,one\n")
    with pytest.raises(DatasetError, match="line 2 gives a folder of 2 series, p"):
        dataset.load(tmp_path)


def test_a_dicom_image_of_labels_lies_where_its_image_lies(tmp_path: Path) -> None:
    images = write_series(tmp_path / "p")
    labels = images[3]
    labels.PixelData = drawn()[3].astype("<u2").tobytes()
    labels.save_as(tmp_path / "m.dcm")
    (tmp_path / "index.csv").write_text("image,mask,patient\np/03.dcm,m.dcm,one\n")
    (patient,) = dataset.load(tmp_path)
    assert np.array_equal(patient.examples[0].truth(), drawn()[3] > 0)
    (tmp_path / "index.csv").write_text("image,mask,patient\np/04.dcm,m.dcm,one\n")
    with pytest.raises(DatasetError, match=r"m\.dcm: lies elsewhere in the patient than its image"):
        dataset.load(tmp_path)


def test_a_bids_mask_that_was_not_fetched_is_told(tmp_path: Path) -> None:
    folder = bids(tmp_path, "sub-01")
    mask = next((folder / "derivatives").rglob("*_mask.nii.gz"))
    mask.unlink()
    mask.symlink_to(tmp_path / ".git" / "annex" / "nowhere.nii.gz")
    with pytest.raises(DatasetError, match=r"lesion_mask\.nii\.gz: not a mask that can be read"):
        dataset.load(folder)


def test_pictures_have_no_mask_that_lies_in_a_patient(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "x.png"), head()[:, :, 5])
    save(tmp_path / "m.nii", truth(), affine())
    (tmp_path / "index.csv").write_text("image,mask,patient\nx.png,m.nii,p\n")
    with pytest.raises(DatasetError, match="a NIfTI mask goes with a NIfTI image or a DICOM"):
        dataset.load(tmp_path)


# BIDS.


def bids(folder: Path, *subjects: str, derivative: str = "reader", **names: str) -> Path:
    """Write subjects with a FLAIR and T1 image, and a mask of the FLAIR."""
    name = names.get("mask", "{}_label-lesion_mask.nii.gz")
    for subject in subjects:
        for sequence in ("FLAIR", "T1w"):
            save(folder / subject / "anat" / f"{subject}_{sequence}.nii.gz", head(), affine())
        below = folder / "derivatives" / derivative / subject / "anat"
        save(below / name.format(subject), truth(), affine())
    return folder


def ids(patients: list[Patient]) -> list[str]:
    return [patient.id for patient in patients]


@pytest.mark.parametrize(
    "name",
    [
        "{}_label-lesion_mask.nii.gz",
        "{}_space-FLAIR_label-L_mask.nii.gz",
        "{}_FLAIR_mask.nii.gz",
        "{}_dseg.nii",
        "{}_desc-manual_roi.nii.gz",
    ],
)
def test_a_bids_data_set_finds_its_masks_by_their_names(name: str, tmp_path: Path) -> None:
    patients = dataset.load(bids(tmp_path, "sub-02", "sub-01", mask=name))
    assert ids(patients) == ["sub-01", "sub-02"]
    for patient in patients:
        assert [bool(e.truth().any()) for e in patient.examples] == [2 <= n <= 4 for n in range(12)]
        source = patient.examples[0].slice.source
        assert source == f"{patient.id}/anat/{patient.id}_FLAIR.nii.gz"
    assert count_masks(patients) == {"read": 2, "mark_nothing": 0, "mark_most": 0}


def test_masks_of_brains_and_other_images_are_none_of_a_tumour(tmp_path: Path) -> None:
    folder = bids(tmp_path, "sub-01")
    below = folder / "derivatives" / "reader" / "sub-01" / "anat"
    whole = np.ones_like(truth())
    for name in ("desc-brain_mask", "label-GM_mask", "T1w_mask", "space-MNI152_label-lesion_mask"):
        save(below / f"sub-01_{name}.nii.gz", whole, affine())
    (patient,) = dataset.load(folder)
    assert patient.examples[2].truth().sum() == truth()[:, :, 2].sum()


def test_several_derivatives_are_refused_until_one_is_picked(tmp_path: Path) -> None:
    folder = bids(bids(tmp_path, "sub-01"), "sub-01", derivative="other")
    with pytest.raises(DatasetError, match="one of them as --derivative: other, reader"):
        dataset.load(folder)
    (patient,) = dataset.load(folder, choice=Choice(derivative="other"))
    assert "other" in str(patient.masks[0].path)
    with pytest.raises(DatasetError, match="no masks in derivatives/third; there are some in: oth"):
        dataset.load(folder, choice=Choice(derivative="third"))


def test_two_masks_that_may_be_meant_are_refused(tmp_path: Path) -> None:
    folder = bids(bids(tmp_path, "sub-01"), "sub-01", mask="{}_label-tumour_mask.nii.gz")
    with pytest.raises(DatasetError, match=r"both may be the mask of sub-01_FLAIR\.nii\.gz"):
        dataset.load(folder)


def test_a_mask_of_a_subject_who_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = bids(tmp_path, "sub-01", "sub-02")
    (folder / "sub-02" / "anat" / "sub-02_FLAIR.nii.gz").unlink()
    with pytest.raises(DatasetError, match="is a mask of sub-02, of whom there is no FLAIR image"):
        dataset.load(folder)


def test_who_has_no_mask_and_what_is_a_second_session_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bids(tmp_path, "sub-01", "sub-02")
    save(folder / "sub-03" / "anat" / "sub-03_FLAIR.nii.gz", head(), affine())
    for session in ("ses-1", "ses-2"):
        name = f"sub-04/{session}/anat/sub-04_{session}"
        save(folder / f"{name}_FLAIR.nii.gz", head(), affine())
        save(folder / "derivatives" / "reader" / f"{name}_mask.nii.gz", truth(), affine())
    patients = dataset.load(folder)
    assert ids(patients) == ["sub-01", "sub-02", "sub-04"]
    assert "ses-1" in patients[-1].examples[0].slice.source
    said = capsys.readouterr().err
    assert "1 subjects have no mask" in said
    assert "1 images are further ones of subjects" in said


def test_a_mask_of_a_session_is_none_of_another(tmp_path: Path) -> None:
    save(tmp_path / "sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz", head(), affine())
    below = tmp_path / "derivatives" / "r" / "sub-01" / "ses-1"
    save(below / "sub-01_ses-1_mask.nii.gz", truth(), affine())
    with pytest.raises(DatasetError, match="no mask below derivatives is one of a FLAIR image"):
        dataset.load(tmp_path)


def test_a_bids_mask_that_marks_nothing_is_said(tmp_path: Path) -> None:
    folder = bids(tmp_path, "sub-01", "sub-02")
    below = folder / "derivatives" / "reader" / "sub-02" / "anat"
    save(below / "sub-02_label-lesion_mask.nii.gz", truth() * 0, affine())
    patients = dataset.load(folder)
    (told,) = doubts(patients)
    assert "1 of 2 masks mark nothing" in told
    assert not any(example.tumour_free for example in patients[1].examples)


def test_a_bids_mask_on_another_grid_is_refused_by_name(tmp_path: Path) -> None:
    folder = bids(tmp_path, "sub-01")
    path = folder / "derivatives" / "reader" / "sub-01" / "anat" / "sub-01_label-lesion_mask.nii.gz"
    save(path, truth(), affine(spacing=(1.0, 1.5, 4.0)))
    with pytest.raises(DatasetError, match=r"sub-01_label-lesion_mask.nii.gz: .*4 mm apart"):
        dataset.load(folder)
