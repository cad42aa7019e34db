"""Masks that lie beside images are no slices, and are still found by those who look for them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from gliomart import sources
from gliomart.errors import DatasetError
from gliomart_training import dataset
from samples import GOLDEN, draw_head

_HEAD = (draw_head() / 5).clip(0, 255).astype(np.uint8)
_MASK = (np.indices(_HEAD.shape).sum(axis=0) < 40).astype(np.uint8) * 255


def _write(folder: Path, name: str, pixels: np.ndarray = _HEAD) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(folder / f"writing{Path(name).suffix}"), pixels)
    (folder / f"writing{Path(name).suffix}").rename(folder / name)
    return folder / name


def _sources(path: Path) -> list[str]:
    return [file.path.name for series in sources.scan([path]).series for file in series.files]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("x.tif", "x_mask.tif"),
        ("x.tif", "x-mask.png"),
        ("x.png", "X_Mask.PNG"),
        ("x.jpg", "x_masks.png"),
        ("x.png", "x_seg.tif"),
        ("x.png", "x-seg.png"),
        ("x.png", "x_segmentation.png"),
        ("x.png", "x_label.png"),
        ("x.png", "x_labels.png"),
        ("x.png", "x.mask.png"),
        ("x.png", "x mask.png"),
        ("x.png", "x_roi.png"),
        ("a.b_1.png", "a.b_1_mask.png"),
        ("00.png", "mask_00.png"),
        ("x.png", "Mask-x.tif"),
        ("x.png", "seg_x.png"),
        ("x.png", "label.x.png"),
        ("x.png", "x_gt.png"),
        ("x.png", "x_GroundTruth.png"),
        ("x.png", "x_ground_truth.png"),
        ("x.png", "x_dseg.png"),
        ("x.png", "x_lesion.png"),
        ("x.png", "x-lesions.png"),
        ("x.png", "x_tumor.png"),
        ("x.png", "x_tumour.png"),
        ("x.png", "x_mask_1.png"),
        ("x.png", "x_seg-02.png"),
        ("x.png", "x_lesion_mask.png"),
        ("p00_flair.png", "p00_seg.png"),
        ("p00_T1.png", "p00_mask.png"),
        ("p00-t2f.png", "p00-seg.png"),
        ("p00_0000.png", "p00_labels.png"),
        ("p00_img.png", "p00_seg_mask.png"),
        ("sub-1_space-orig_FLAIR.png", "sub-1_dseg.png"),
        ("x_flair.png", "mask_x_flair.png"),
    ],
)
def test_a_mask_beside_an_image_is_ignored_and_counted(
    tmp_path: Path, image: str, mask: str
) -> None:
    _write(tmp_path / "study", image)
    _write(tmp_path / "study", mask, _MASK)
    inventory = sources.scan([tmp_path / "study"])
    assert _sources(tmp_path / "study") == [image]
    assert inventory.ignored_kinds == {"mask beside an image": 1}
    assert (inventory.files, inventory.ignored) == (1, 1)


@pytest.mark.parametrize(
    ("image", "other"),
    [
        ("x.png", "y_mask.png"),  # of another image
        ("x.png", "xmask.png"),
        ("x.png", "mask.png"),
        ("x.png", "_mask.png"),
        ("x.png", "x_mask2.png"),
        ("x.png", "x_segment.png"),
        ("x.png", "x_unmask.png"),
        ("x.png", "x_flair.png"),
        ("x_a.png", "x_seg.png"),
        ("x_healthy.png", "x_tumor.png"),
        ("x.png", "lesion_x.png"),
        ("p1_flair.png", "p10_seg.png"),
        ("p1_flair.png", "p1_t1.png"),
        ("00_roi.png", "01_roi.png"),
        ("x.png", "xmask_1.png"),
    ],
)
def test_what_is_named_otherwise_is_an_image(tmp_path: Path, image: str, other: str) -> None:
    _write(tmp_path, image)
    _write(tmp_path, other, _MASK)
    assert sorted(_sources(tmp_path)) == sorted([image, other])


def test_an_image_in_another_folder_makes_no_mask(tmp_path: Path) -> None:
    _write(tmp_path / "a", "x.png")
    _write(tmp_path / "b", "x_mask.png", _MASK)
    assert sorted(_sources(tmp_path)) == ["x.png", "x_mask.png"]


def test_a_mask_that_is_given_by_itself_is_meant(tmp_path: Path) -> None:
    image, mask = _write(tmp_path, "x.png"), _write(tmp_path, "x_mask.png", _MASK)
    assert _sources(mask) == ["x_mask.png"]
    both = sources.scan([image, mask])
    assert len(both.series) == 2
    assert both.ignored == 0


def test_the_mask_of_an_image_that_cannot_be_read_is_no_image_either(tmp_path: Path) -> None:
    _write(tmp_path, "x_mask.png", _MASK)
    (tmp_path / "x.tif").write_bytes(b"no image at all")
    inventory = sources.scan([tmp_path])
    assert [refusal.code for refusal in inventory.refused] == ["unrecognised-format"]
    assert inventory.series == ()
    assert inventory.ignored_kinds == {"mask beside an image": 1}


def test_pictures_beside_dicom_and_volumes_may_be_masks_and_dicom_never_is(tmp_path: Path) -> None:
    content = sorted(GOLDEN.glob("*.dcm"))[5].read_bytes()
    (tmp_path / "x.dcm").write_bytes(content)
    (tmp_path / "x_seg.dcm").write_bytes(sorted(GOLDEN.glob("*.dcm"))[6].read_bytes())
    _write(tmp_path, "x_mask.png", _MASK)
    assert sorted(_sources(tmp_path)) == ["x.dcm", "x_seg.dcm"]


def test_masks_of_volumes_are_ignored(tmp_path: Path) -> None:
    from niftis import affine, volume

    for name in ("x.nii", "x_seg.nii", "y.nii.gz", "y_mask.nii"):
        content = volume(s=(affine(0), 1))
        if name.endswith("gz"):
            import gzip

            content = gzip.compress(content)
        (tmp_path / name).write_bytes(content)
    assert _sources(tmp_path) == ["x.nii", "y.nii.gz"]


def test_a_dataset_finds_its_masks_by_any_of_their_names(tmp_path: Path) -> None:
    for number, end in enumerate(("_mask.tif", "-MASK.png", "_seg.png", "_label.png")):
        folder = tmp_path / f"p{number}"
        for at in range(9):
            _write(folder, f"s{at}.png")
        _write(folder, f"s4{end}", _MASK)
    for patient in dataset.load(tmp_path):
        assert len(patient.examples) == 9
        assert [e.tumour_free for e in patient.examples] == [abs(at - 4) > 3 for at in range(9)]
        assert patient.examples[4].truth().sum() == (_MASK > 0).sum()


def test_sequences_that_share_a_mask_are_analysed_without_it(tmp_path: Path) -> None:
    for name in ("B_001_flair.png", "B_001_t1.png", "B_001_t1ce.png", "B_001_seg.png"):
        _write(tmp_path / "B_001", name, _MASK if "seg" in name else _HEAD)
    assert sorted(_sources(tmp_path)) == ["B_001_flair.png", "B_001_t1.png", "B_001_t1ce.png"]


@pytest.mark.parametrize(
    "pair", [("{}_flair", "{}_seg"), ("{}", "mask_{}"), ("{}", "{}_gt"), ("{}", "{}_mask_1")]
)
def test_a_dataset_finds_masks_that_share_a_beginning(
    tmp_path: Path, pair: tuple[str, str]
) -> None:
    for at in range(9):
        _write(tmp_path / "p0", pair[0].format(f"s{at}") + ".png")
    _write(tmp_path / "p0", pair[1].format("s4") + ".png", _MASK)
    (patient,) = dataset.load(tmp_path)
    assert len(patient.examples) == 9
    assert patient.examples[4].truth().sum() == (_MASK > 0).sum()


def test_two_masks_of_one_image_are_no_dataset(tmp_path: Path) -> None:
    _write(tmp_path, "x.png")
    _write(tmp_path, "x_seg.png", _MASK)
    _write(tmp_path, "x_mask.png", np.zeros_like(_MASK))
    with pytest.raises(
        DatasetError, match=r"x_mask.png and x_seg.png: both are called the mask of"
    ):
        dataset.load(tmp_path)
