from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gliomart.findings.suitability import CODES
from gliomart.image.grid import uncrop
from gliomart.model.contents import InputImage
from gliomart.outputs import pictures
from gliomart.outputs.page import MOST_PICTURES, report
from gliomart.outputs.report_slice import ReportSlice, from_json, to_json
from reports import HOSTILE, analysed, page_of

LESIONS = [0.0, 0.9, 0.0, 0.5]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return analysed(tmp_path_factory.mktemp("model"), LESIONS)


class _Page(HTMLParser):
    """The elements, attributes, scripts and visible text of a page."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self._inside = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.inline:
            self._inside = tag
            self.inline[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline[self._inside][-1] += data
        else:
            self.text += data

    @property
    def pictures(self) -> list[list[dict[str, Any] | None]]:
        read: list[list[dict[str, Any] | None]] = json.loads(self.inline["script"][0])
        return read


def _decoded(content: str) -> np.ndarray:
    encoded = np.frombuffer(base64.b64decode(content), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)


def _words(document: Any, shown: Any, card: Any) -> str:
    return " ".join(_Page(report(document, shown, card)).text.split())


def test_the_page_says_what_was_found_by_whom_and_what_it_is_for(results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card)
    document["not_analysed"] = [
        {"source": "study/x.dcm", "frame": 1, "code": "wrong-modality", "reason": "modality CT"}
    ]
    page = _Page(report(document, shown, card))
    text = " ".join(page.text.split())
    for words in (
        "Research software, not a medical device; not for diagnosis.",
        "4 slices of 1 series", "tiny 1 (0123456789ab)", "CPUExecutionProvider",
        card.intended_use, "flagged, p = 0.025; 2 of 4 slices flagged",
        "seen in 4 slices, 2 % of it anomalous", "wrong-modality",
        "150, 128 -45, 8, 5", f"{slices[1].regions[0].area_mm2:.0f}",
        "outlined above 0.05", "≥ 0.3", "feet", "head",
    ):  # fmt: skip
        assert words in text
    assert "Outside the intended use" not in text


def test_what_lies_outside_the_intended_use_is_said_at_series_and_slice(results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card)
    document["series"][0]["outside_intended_use"] = ["wrong-plane", "coverage"]
    document["slices"][1]["outside_intended_use"] = ["wrong-plane"]
    text = " ".join(_Page(report(document, shown, card)).text.split())
    plane, coverage = (f"{code} ({CODES[code]})" for code in ("wrong-plane", "coverage"))
    assert text.count(f"Outside the intended use: {plane}, {coverage}.") == 1
    assert text.count(f"Outside the intended use: {plane}.") == 1


def test_a_pons_that_is_not_covered_or_not_known_is_never_called_healthy(results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card)
    document["series"][0]["pons"] |= {"coverage": "pons not covered", "slices": 0, "p_value": None}
    assert "nothing is said about it" in _Page(report(document, shown, card)).text
    document["series"][0]["pons"] = None
    for entry in document["slices"]:
        entry["pons"] = None
    assert "this model does not know it" in _Page(report(document, shown, card)).text


def test_a_structure_that_is_found_and_not_judged_is_told_as_that(results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card)
    unknown = dict.fromkeys(("score", "p_value", "flagged", "fraction_anomalous"))
    document["series"][0]["pons"] = {"coverage": "pons covered", "slices": 4, **unknown}
    for entry in document["slices"]:
        entry["pons"] = {"visible": True, "box": [1, 2, 3, 4], **unknown}
    text = " ".join(_Page(report(document, shown, card)).text.split())
    assert (
        "Pons covered: the model finds it and does not judge it; nothing is said about it" in text
    )
    assert text.count("Pons: seen, not judged.") == len(slices)


def test_a_model_that_masks_taught_is_marked_as_for_comparison(results: Any) -> None:
    found, card = results
    taught = replace(card, training={"saw_masks": True})
    pages = [_Page(report(*page_of(found, each), each)).text for each in (card, taught)]
    assert ["For comparison alone" in page for page in pages] == [False, True]


def test_a_model_without_a_reconstruction_has_a_report(results: Any) -> None:
    slices, card = results
    slices = [replace(result, reconstruction=None, brain=None) for result in slices]
    document, shown = page_of(slices, card)
    assert {each.reconstruction for each in shown} == {""}
    assert all(each.source and each.anomaly_map for each in shown)
    assert from_json(to_json(shown)) == shown
    assert b'"reconstruction": ""' in report(document, shown, card)


def test_drift_is_said_where_a_watch_noticed_it_and_nothing_where_there_is_none(
    results: Any,
) -> None:
    slices, card = results
    document, shown = page_of(slices, card)
    assert "Drift" not in _Page(report(document, shown, card)).text
    study = {
        "series": ["study/0"],
        "scanner": {"manufacturer": "Siemens", "model": HOSTILE, "device": ""},
        "sequence": "MR FLAIR", "study": 41, "not_counted": None, "statistics": {}, "limit": 1e3,
        "noticed": [],
    }  # fmt: skip
    document["drift"] = [study]
    assert "Driftnone noticed" in _words(document, shown, card)
    notice = {"statistic": "noise", "risen": True, "study": 41, "month": "2026-11"}
    document["drift"] = [study | {"noticed": [notice]}, study | {"not_counted": "seen-before"}]
    text = _words(document, shown, card)
    assert text.count("MR FLAIR: noise has risen, noticed with study 41 (2026-11). Scans") == 1
    assert "Driftnoticed; Siemens" in text
    assert "MR FLAIR: a study was not counted: it was analysed before" in text
    del document["drift"]
    document["not_written"] = [{"object": "drift", "code": "output"}]
    assert "Driftnot looked for: studies could not be counted" in _words(document, shown, card)


def test_a_verdict_that_cannot_be_given_is_not_given(results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card)
    document["series"][0]["flagged"] = None
    text = _Page(report(document, shown, card)).text
    assert "no verdict" in text
    assert "Too few patients" in text


def test_nothing_analysed_still_makes_a_page(results: Any) -> None:
    _, card = results
    document, _ = page_of([], card)
    document["series"] = []
    document["not_analysed"] = [
        {"source": "study/x", "frame": None, "code": "empty-file", "reason": "no bytes"}
    ]
    text = _Page(report(document, [], card)).text
    assert "Nothing could be analysed" in text
    assert "empty-file" in text


def test_identity_is_shown_only_where_it_is_asked_for(results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card, name="DOE^JANE")
    document["not_analysed"] = [
        {"source": "x/DOE^JANE", "frame": None, "code": "unreadable", "reason": "lists DOE^JANE"}
    ]
    hidden = report(document, shown, card)
    assert b"DOE" not in hidden
    assert b"1.2.3.1" not in hidden
    text = _Page(report(document, shown, card, identify=True)).text
    for words in ("DOE^JANE/0/1.dcm", "1.2.3.1", "x/DOE^JANE", "lists DOE^JANE"):
        assert words in text


def test_hashes_tell_inputs_apart_and_depend_on_the_run(results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card)

    def hashes() -> list[str]:
        text = _Page(report(document, shown, card)).text
        return re.findall(r"Source, as a hash: ([0-9a-f]{8})\b", text)

    first = hashes()
    assert len(set(first)) == len(slices)
    salted = f"{document['inputs']['digest']}\0study/0/0.dcm".encode()
    assert first[0] == hashlib.sha256(salted).hexdigest()[:8]
    assert hashes() == first
    document["inputs"]["digest"] = "d2" * 32
    assert not set(hashes()) & set(first)


def test_hostile_names_are_text_and_nothing_else(results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card, name=HOSTILE)
    harmless = _Page(report(*page_of(slices, card), card, identify=True))
    document["model"]["name"] = document["series"][0]["source"] = HOSTILE
    document["not_analysed"] = [
        {"source": HOSTILE, "frame": None, "code": HOSTILE, "reason": HOSTILE + "\ud800"}
    ]
    images = (InputImage("MR", HOSTILE),)
    card = replace(card, intended_use=HOSTILE, images=images)
    content = report(document, shown, card, identify=True)
    page = _Page(content)
    for kind in ("script", "img", "style"):
        assert sum(tag == kind for tag, _ in page.tags) == sum(
            tag == kind for tag, _ in harmless.tags
        )
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert HOSTILE in page.text


def test_the_policy_forbids_everything_but_the_page_itself(results: Any) -> None:
    slices, card = results
    page = _Page(report(*page_of(slices, card), card))
    (policy,) = (
        str(attributes["content"])
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    hashes = {
        kind: base64.b64encode(hashlib.sha256(page.inline[kind][-1].encode()).digest()).decode()
        for kind in ("script", "style")
    }
    assert policy.split("; ") == [
        "default-src 'none'", "img-src data:", f"style-src 'sha256-{hashes['style']}'",
        f"script-src 'sha256-{hashes['script']}'", "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    assert not any("style" in attributes for _, attributes in page.tags)


def test_no_address_outside_the_page_is_in_it(results: Any) -> None:
    slices, card = results
    content = report(*page_of(slices, card), card).decode()
    # The name of SVG's namespace is no address that anything asks.
    assert re.findall(r"https?://[^\"']*", content) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"@import|url\((?!\"?#)|(src|href)=\"(?!#|data:)", content)


def test_pictures_show_what_the_run_saw(results: Any) -> None:
    slices, card = results
    result, shown = slices[1], ReportSlice.of(slices[1], card)
    source = _decoded(shown.source)
    assert source.shape == (256, 256)
    windowed = pictures.window(result.slice.pixels, result.normalisation)
    assert np.abs(source - windowed).mean() < 3
    anomaly = _decoded(shown.anomaly_map)
    halves = np.clip(result.anomaly_map / 0.3, 0, 1).reshape(128, 2, 128, 2).mean(axis=(1, 3))
    assert np.abs(anomaly - halves * 255).max() <= 1
    # What this model leaves alone, everything up to 0.5, looks the same in the same window.
    box = uncrop(np.ones((256, 256), np.float32), result.normalisation.box, (256, 256)) > 0
    alike = box & (windowed < 255 * 0.5 / 0.4 / 2.2)
    assert np.abs(_decoded(shown.reconstruction) - windowed)[alike].mean() < 3
    assert _decoded(shown.reconstruction)[~alike & box].mean() < 150 < windowed[~alike & box].mean()


def test_outlines_enclose_the_masks(results: Any) -> None:
    slices, card = results
    shown = ReportSlice.of(slices[1], card)
    outlines = (
        (shown.regions, slices[1].mask),
        (shown.structures["pons"], slices[1].pons.mask),
    )
    for line, mask in outlines:
        drawn = np.zeros(mask.shape, np.uint8)
        for contour in line.removesuffix("Z").split("Z"):
            points = np.array([p.split(",") for p in contour.removeprefix("M").split()], float)
            cv2.fillPoly(drawn, [np.floor(points).astype(np.int32)], 1)
        assert np.array_equal(drawn > 0, mask)
    assert ReportSlice.of(slices[0], card).regions == ""


def test_pictures_keep_their_shape_in_millimetres_and_name_the_sides(results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card)
    document["slices"][1]["geometry"] |= {"orientation": [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]}
    document["slices"][2]["geometry"] = dict.fromkeys(document["slices"][2]["geometry"])
    document["slices"][3]["geometry"]["orientation"] = [0.6, 0.6, 0.5, 0.0, 0.6, -0.7]
    first, second, third, fourth = _Page(report(document, shown, card)).pictures[0]
    assert first
    assert second
    assert third
    assert fourth
    assert (first["aspect"], third["aspect"]) == (0.5, 1.0)
    assert first["edges"] == ["R", "L", "A", "P"]
    assert second["edges"] == ["A", "P", "H", "F"]
    assert third["edges"] == ["", "", "", ""]
    assert fourth["edges"][:2] == ["", ""]


def test_pictures_survive_being_kept(results: Any) -> None:
    slices, card = results
    _, shown = page_of(slices, card)
    assert from_json(to_json([*shown, None])) == [*shown, None]
    with pytest.raises((TypeError, ValueError)):
        from_json(b'[{"width": 1}]')


def test_heat_has_no_red_and_rises_evenly() -> None:
    colours = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[np.newaxis], pictures.HEAT)
    blue, green, red = np.moveaxis(colours[0].astype(int), -1, 0)
    assert not np.any((red > green + 60) & (red > blue))
    lightness = cv2.cvtColor(colours, cv2.COLOR_BGR2LAB)[0, :, 0].astype(float)
    steps = np.diff(lightness[::16])
    assert steps.min() > 0.5 * steps.mean()
    assert steps.max() < 1.5 * steps.mean()


def test_the_scale_is_the_cards_and_not_the_images(results: Any) -> None:
    slices, card = results
    faint = ReportSlice.of(slices[0], card)
    assert _decoded(faint.anomaly_map).max() < 50


def test_four_hundred_large_slices_stay_small(tmp_path: Path) -> None:
    slices, card = analysed(tmp_path, [0.9, 0.0, 0.5, 0.0], shape=(512, 512))
    document, shown = page_of(slices, card, series=100)
    assert len(shown) == 400
    assert len(report(document, shown, card)) <= 15e6


def test_beyond_so_many_the_most_anomalous_keep_their_pictures(results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card, series=MOST_PICTURES // 4 + 10)
    page = _Page(report(document, shown, card))
    kept = [picture for series in page.pictures for picture in series]
    assert sum(picture is not None for picture in kept) == MOST_PICTURES
    for entry, picture in zip(document["slices"], kept, strict=True):
        assert picture is not None or not entry["flagged"]
    assert f"the {MOST_PICTURES} slices with the lowest p-values" in page.text


def test_a_fallback_is_told_with_its_reason(results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card)
    document["provider"] |= {"degraded": True, "reason": "cuda was lost (its memory is full)"}
    assert (
        "as a fallback: cuda was lost (its memory is full)"
        in report(document, shown, card).decode()
    )
