"""Every page of the documentation and both HTML products in a browser: nothing is cut, at two widths and in the dark.

Screenshots are written to `docs/_build/screens`. `make test-pages` builds the documentation and runs this.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comparison_folders import write_comparison

from iapo.cli import main
from iapo.comparison.running.choice import choose
from iapo.comparison.running.results import read_finished, read_reporting
from iapo.comparison.showing.page import render_page
from iapo.comparison.showing.summary import summarize

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra: pip install 'iapo[pages]'")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
BUILT = Path(__file__).parents[2] / "docs" / "_build"
PAGES = sorted(str(page.relative_to(BUILT / "html")) for page in (BUILT / "html").rglob("*.html"))
PAGES = [page for page in PAGES if not page.startswith("_")]
LOOKS = {"1280": (1280, "light"), "480": (480, "light"), "dark": (1280, "dark")}
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, Debian's package")

CUT = """wide => {
  const shown = document.documentElement.clientWidth;
  const cut = [];
  if (document.documentElement.scrollWidth > shown + 1)
    for (const element of document.querySelectorAll("body *"))
      if (element.getBoundingClientRect().right > shown + 1 && getComputedStyle(element).position !== "fixed")
        cut.push("beyond the page: " + element.tagName + " " + element.textContent.trim().slice(0, 60));
  for (const element of document.querySelectorAll("body *")) {
    const style = getComputedStyle(element);
    const scrolls = style.overflowX === "auto" || style.overflowX === "scroll";
    const hides = style.overflowX === "hidden" && element.clientWidth > 1;
    if (style.display !== "inline" && element.scrollWidth > element.clientWidth + 1 && (hides || (wide && scrolls)))
      cut.push("within its box: " + element.tagName + " " + element.textContent.trim().slice(0, 60));
  }
  return cut;
}"""
"""What of a page cannot be seen: whatever the page is too narrow for, what a box hides, and, on a ``wide`` page, what a
box shows only when it is scrolled."""

LIGHTNESS = """() => {
  const [red, green, blue] = getComputedStyle(document.body).color.match(/[0-9.]+/g).map(Number);
  return (red + green + blue) / 765;
}"""


FONTS = """() => Array.from(document.querySelectorAll("svg.chart")).map(
  chart => chart.getBoundingClientRect().width / chart.viewBox.baseVal.width)"""
"""By how much each chart is scaled, and its text with it."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def look(browser: Any, page: Path, name: str, looks: str) -> tuple[list[str], float, list[float]]:
    """What of a page is cut or comes from a network, how light its text is, between 0 and 1, and its charts' scales.

    A screenshot is kept.
    """
    width, scheme = LOOKS[looks]
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    shown = context.new_page()
    asked: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(page.as_uri(), wait_until="domcontentloaded")
    screen = BUILT / "screens" / looks / f"{name.removesuffix('.html').replace('/', '-')}.png"
    shown.screenshot(path=screen, full_page=True, timeout=0)  # long pages take long on a busy machine
    cut = shown.evaluate(CUT, width >= 1280) + [url for url in asked if not url.startswith(("file:", "data:"))]
    found = cut, shown.evaluate(LIGHTNESS), shown.evaluate(FONTS)
    context.close()
    return found


@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("page", PAGES)
def test_the_documentation(browser, page, looks):
    cut, lightness, _ = look(browser, BUILT / "html" / page, page, looks)

    assert cut == []
    assert (lightness > 0.5) == (looks == "dark")


@pytest.fixture(scope="module")
def products(tmp_path_factory) -> dict[str, Path]:
    """The page of `iapo inspect` and that of `iapo compare`."""
    folder = tmp_path_factory.mktemp("products")
    assert main(["inspect", "--html", str(folder / "inspect.html")]) == 0
    plan = write_comparison(folder)
    tuning = read_finished(folder, plan.tuning_runs())
    choices = choose(plan, tuning)
    summary = summarize(plan, folder, choices, [*read_reporting(plan, folder, choices), *tuning], {})
    (folder / "compare.html").write_text(render_page(summary))
    return {name: folder / f"{name}.html" for name in ("inspect", "compare")}


@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("name", ["inspect", "compare"])
def test_a_product(browser, products, name, looks):
    cut, lightness, scales = look(browser, products[name], name, looks)

    assert cut == []
    assert (len(scales) > 5) == (name == "compare")
    assert max(scales, default=1) < 1.1 * min(scales, default=1), "the text of all charts has one size"
    assert (lightness > 0.5) == (looks == "dark")
