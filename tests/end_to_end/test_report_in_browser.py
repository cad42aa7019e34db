"""The report in a real browser, opened from disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gliomart import cli
from gliomart.outputs.page import report
from reports import HOSTILE, analysed, page_of

sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

Open = Callable[[bytes | Path], Any]
LESIONS = [0.0, 0.5, 0.0, 0.9, 0.0, 0.0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--no-first-run",
            ],
        )  # fmt: skip
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open a page from disk; whatever it asks for or complains about fails the test."""
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))

    def watch(request: Any) -> None:
        if not request.url.startswith(("data:", tmp_path.as_uri())):
            complaints.append(f"request: {request.url}")

    page.on("request", watch)

    def open_page(content: bytes | Path) -> Any:
        path = content if isinstance(content, Path) else tmp_path / "report.html"
        if isinstance(content, bytes):
            path.write_bytes(content)
        page.goto(path.as_uri())
        return page

    yield open_page
    page.close()
    assert complaints == []


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return analysed(tmp_path_factory.mktemp("model"), LESIONS)


@pytest.fixture
def page(opened: Open, results: Any) -> Any:
    slices, card = results
    document, shown = page_of(slices, card, series=2)
    document["not_analysed"] = [
        {"source": "study/x", "frame": None, "code": "empty-file", "reason": "no bytes"}
    ]
    document["series"][0]["outside_intended_use"] = ["wrong-plane"]
    return opened(report(document, shown, card))


def _title(page: Any) -> str:
    return str(page.locator("article.current h4").inner_text())


def _order(page: Any) -> list[int]:
    items = page.locator("section.current .slices li")
    return [int(number) for number in items.evaluate_all("all => all.map(i => i.dataset.number)")]


def _brightness(page: Any, kind: str) -> float:
    """Mean of what is really painted of a panel, all three channels."""
    import cv2
    import numpy as np

    picture = page.locator(f"figure[data-kind={kind}] .picture").screenshot()
    return float(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).mean())


def test_the_demo_shows_its_most_anomalous_slice_at_once(opened: Open, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli.main(["demo", "--out", str(out), "--provider", "cpu"]) == 0
    page = opened(out / "report.html")
    assert "flagged, p = 0.0004" in _title(page)
    assert page.locator("figure[data-kind=overlay] .regions").get_attribute("d")
    assert page.locator("figure[data-kind=overlay] img.over").is_visible()
    assert _order(page)[:6] == [5, 6, 4, 7, 3, 8]
    assert page.locator("article.flagged").count() == 8


def test_everything_can_be_done_from_the_keyboard(page: Any) -> None:
    assert _title(page).startswith("Slice 4 of 6")
    steps = [
        ("ArrowRight", 5), ("ArrowRight", 6), ("ArrowRight", 6), ("ArrowLeft", 5), ("p", 4),
        ("p", 2), ("p", 2), ("n", 4), ("ArrowDown", 2), ("ArrowDown", 1), ("ArrowUp", 2),
        ("Home", 4), ("End", 6),
    ]  # fmt: skip
    for key, number in steps:
        page.keyboard.press(key)
        assert _title(page).startswith(f"Slice {number} of 6"), key
        assert page.locator("section.current li[aria-selected=true]").count() == 1
        assert f"Slice {number} of 6" in page.locator("#announcement").text_content()
    page.keyboard.press("]")
    assert page.locator("section.current").get_attribute("data-series") == "1"
    assert page.locator(".choose[aria-current=true]").get_attribute("data-series") == "1"
    page.keyboard.press("]")
    page.keyboard.press("[")
    assert page.locator("section.current").get_attribute("data-series") == "0"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("o")
    assert page.locator("#overlay").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_tab_reaches_every_control_and_shows_where_it_is(page: Any) -> None:
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        state = page.evaluate(
            "() => { const e = document.activeElement, s = getComputedStyle(e);"
            " return [e.id || e.className || e.role || e.tagName, s.outlineStyle, s.outlineWidth,"
            " e === document.body] }"
        )
        if not state[3]:
            reached.add(state[0])
            assert state[1:3] == ["solid", "3px"], state
    wanted = {"choose", "order", "overlay", "outlines", "opacity", "brightness", "contrast"}
    assert wanted | {"reset", "keys", "enlarge", "SUMMARY", "A", "option"} <= reached


def test_overlay_outlines_and_opacity_change_what_is_painted(page: Any) -> None:
    whole = _brightness(page, "overlay")
    page.keyboard.press("l")
    without_outlines = _brightness(page, "overlay")
    page.keyboard.press("o")
    bare = _brightness(page, "overlay")
    assert page.locator("#overlay").get_attribute("aria-pressed") == "false"
    assert bare == pytest.approx(_brightness(page, "source"), abs=0.5)
    assert len({whole, without_outlines, bare}) == 3
    page.keyboard.press("o")
    page.locator("#opacity").focus()
    page.keyboard.press("Home")
    assert _brightness(page, "overlay") == pytest.approx(bare, abs=0.1)
    assert _title(page).startswith("Slice 4")  # the slider's own keys move the slider alone
    assert page.locator("output[for=opacity]").inner_text() == "0 %"
    page.keyboard.press("0")
    assert _brightness(page, "overlay") == pytest.approx(whole, abs=0.1)


def test_the_window_changes_the_images_and_not_the_map(page: Any) -> None:
    source, heat = _brightness(page, "source"), _brightness(page, "map")
    page.keyboard.press("b")
    brighter = _brightness(page, "source")
    page.keyboard.press("B")
    page.keyboard.press("c")
    contrasted = _brightness(page, "source")
    assert brighter > source
    assert contrasted != pytest.approx(source, abs=0.5)
    assert _brightness(page, "map") == heat
    page.locator("#reset").click()
    assert _brightness(page, "source") == source


def test_a_picture_is_enlarged_and_all_come_back(page: Any) -> None:
    small = page.locator("figure[data-kind=map] .picture").bounding_box()["width"]
    page.keyboard.press("4")
    assert page.locator(".panels figure:visible").count() == 1
    assert page.locator("figure[data-kind=map] .picture").bounding_box()["width"] > 1.5 * small
    page.keyboard.press("4")
    assert page.locator(".panels figure:visible").count() == 4


def test_the_list_is_sorted_as_asked(page: Any) -> None:
    assert _order(page) == [4, 2, 1, 3, 5, 6]
    page.locator("section.current .order").select_option("anatomical")
    assert _order(page) == [1, 2, 3, 4, 5, 6]
    page.locator("body").click(position={"x": 5, "y": 5})
    page.locator("section.current .order").evaluate("select => select.blur()")
    page.keyboard.press("a")
    assert _order(page) == [4, 2, 1, 3, 5, 6]
    assert _title(page).startswith("Slice 4")


def test_list_and_plot_choose_slices_with_the_mouse(page: Any) -> None:
    page.locator("section.current li[data-number='6']").click()
    assert _title(page).startswith("Slice 6")
    box = page.locator("section.current .plot").bounding_box()
    page.locator("section.current .plot").click(
        position={"x": box["width"] * (46 + 944 * 2.5 / 6) / 1000, "y": 40}
    )
    assert _title(page).startswith("Slice 3")
    page.locator("figure[data-kind=source]").hover()
    page.mouse.wheel(0, 100)
    page.wait_for_function(
        "document.querySelector('article.current h4').textContent.startsWith('Slice 4')"
    )


# For every text that can be seen: its colour against the nearest background behind it.
_CONTRASTS = """() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, noscript, option")) continue;
    const style = getComputedStyle(element);
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, alpha = 1] = numbers(getComputedStyle(at).backgroundColor);
      if (alpha) layers.unshift([r, g, b, alpha]);
    }
    const back = layers.reduce((under, [r, g, b, alpha]) =>
      [r, g, b].map((v, i) => alpha * v + (1 - alpha) * under[i]), [255, 255, 255]);
    const text = numbers(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [a, b] = [luminance(text), luminance(back)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), walker.currentNode.data.trim()]);
  }
  return found;
}"""


@pytest.mark.parametrize("medium", ["screen", "print"])
def test_every_text_stands_out_from_its_background(page: Any, medium: str) -> None:
    page.emulate_media(media=medium)
    page.locator("details").evaluate("all => all.open = true")
    contrasts = page.evaluate(_CONTRASTS)
    assert len(contrasts) > 30
    assert [entry for entry in contrasts if entry[0] < 4.5] == []


def test_pictures_controls_and_tables_have_names(page: Any) -> None:
    assert page.locator("img").evaluate_all("all => all.every(i => i.hasAttribute('alt'))")
    names = page.locator(".panels img:first-child").evaluate_all("all => all.map(i => i.alt)")
    assert names == [
        "Source of slice 4", "Overlay of slice 4",
        "Reconstruction of slice 4", "Anomaly map of slice 4",
    ]  # fmt: skip
    for slider in ("opacity", "brightness", "contrast"):
        assert page.get_by_label(slider.capitalize(), exact=False).count() >= 1
    assert page.get_by_role("listbox", name="Slices").count() == 1
    assert page.locator("[role=listbox]").get_by_role("option", selected=True).count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    plot = page.locator("section.current .plot").get_attribute("aria-label")
    assert "6 slices from feet to head; 2 at or below 0.05 are flagged" in plot


def test_paper_shows_every_flagged_slice_with_its_overlay(page: Any) -> None:
    page.emulate_media(media="print")
    assert page.locator("article.flagged:visible").count() == 4  # two in each of two series
    assert page.locator("article:not(.flagged):visible").count() == 0
    assert page.locator("article.flagged .figures img.over:visible").count() == 4
    assert page.locator(".plot:visible").count() == 2
    assert page.locator("#viewer:visible, nav:visible, .browse:visible").count() == 0
    shapes = page.locator(".figures .picture").evaluate_all(
        "all => all.map(p => p.clientWidth / p.clientHeight)"
    )
    assert shapes == pytest.approx([0.5] * 8, rel=0.02)
    assert page.pdf().startswith(b"%PDF")


def test_hostile_names_are_shown_as_text(opened: Open, results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card, name=HOSTILE, series=2)
    document["not_analysed"] = [
        {"source": HOSTILE, "frame": None, "code": "unreadable", "reason": HOSTILE}
    ]
    page = opened(report(document, shown, card, identify=True))
    page.keyboard.press("ArrowRight")
    for place in ("h2 bdi", "article.current .source bdi", "#not-analysed td bdi", ".choose bdi"):
        shown_name = page.locator(place).first.text_content()
        assert shown_name.startswith(HOSTILE)
    assert page.locator("img[src=x]").count() == 0


def test_the_policy_stops_whatever_is_put_into_the_page(browser: Any, results: Any) -> None:
    slices, card = results
    page, complaints = browser.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    content = report(*page_of(slices, card), card).decode()
    page.set_content(
        content.replace(
            "<h1>",
            '<script>window.ran = 1</script><img src="http://192.0.2.1/x.png"'
            ' onerror="window.ran = 2"><h1>',
        )
    )
    assert page.evaluate("window.ran") is None
    assert sum("Content Security Policy" in text for text in complaints) >= 2
    page.close()


@pytest.mark.parametrize("count", [1, 400])
def test_one_slice_and_four_hundred_are_drawn(opened: Open, results: Any, count: int) -> None:
    slices, card = results
    document, shown = page_of((list(slices) * 68)[3 : 3 + count], card)
    page = opened(report(document, shown, card))
    assert _title(page).startswith("Slice ")
    assert _title(page).split(":")[0].endswith(f"of {count}")
    page.keyboard.press("End")
    page.wait_for_function(
        "document.querySelector('li[aria-selected=true] .thumbnail img')?.complete"
    )


def test_a_slice_without_a_picture_says_so(opened: Open, results: Any) -> None:
    slices, card = results
    document, shown = page_of(slices, card, series=70)
    page = opened(report(document, shown, card))
    for _ in range(69):
        page.keyboard.press("]")
    page.keyboard.press("End")
    assert page.locator(".missing").is_visible()
    assert not page.locator(".panels").is_visible()
