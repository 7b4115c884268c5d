"""The HTML page: inert, balanced, complete, deterministic, legible; for any text and any numbers."""

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from hypothesis import given, settings
from inspections import LABEL, contrast, inspections, luminance, trace_of

from iapo.inspection import Inspection, render_html
from iapo.inspection.glyphs import printable

HOSTILE = "</script><img src=x onerror=alert(1)><!--<script>"
VOID = {"meta", "link", "br", "img"}
SELF_CLOSED = {"path", "rect", "circle"}


class Page(HTMLParser):
    """The page's elements, its token texts, and whether its tags balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tokens: dict[str, str] = {}
        self.classes: dict[str, set[str]] = {}
        self.token: str | None = None
        self.depth = 0
        self.data: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        if tag in VOID:
            return
        self.open.append(tag)
        values = dict(attrs)
        if "t" in (values.get("class") or "").split() and values.get("id"):
            self.token, self.depth = values["id"], len(self.open)
            assert self.token is not None
            assert self.token not in self.tokens
            self.tokens[self.token] = ""
            self.classes[self.token] = set((values["class"] or "").split())
        if tag == "script":
            self.data[values.get("id") or "code"] = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SELF_CLOSED
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if self.token is not None and len(self.open) == self.depth:
            self.token = None
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.token is not None:
            self.tokens[self.token] += data
        if self.open and self.open[-1] == "script":
            self.data[next(reversed(self.data))] += data


@given(inspections())
@settings(max_examples=80, deadline=None)
def test_every_token_once_in_order_and_tags_balanced(inspection: Inspection) -> None:
    page = Page(render_html(inspection))
    want = {f"c{i}t{t}": printable(p) for i, trace in enumerate(inspection.traces) for t, p in enumerate(trace.pieces)}
    assert page.tokens == want
    assert list(page.tokens) == list(want)


@given(inspections())
@settings(max_examples=40, deadline=None)
def test_structure_does_not_depend_on_text(inspection: Inspection) -> None:
    def bland(text: str) -> str:
        return re.sub(r"[^\s]", "x", text)

    traces = tuple(
        dataclasses.replace(
            trace,
            prompt="p",
            pieces=tuple(map(bland, trace.pieces)),
            probe_label="v",
            answer="a" if trace.answer else "",
        )
        for trace in inspection.traces
    )
    plain = dataclasses.replace(
        inspection, traces=traces, metadata={f"k{i}": "v" for i in range(len(inspection.metadata))}
    )
    assert Page(render_html(inspection)).names == Page(render_html(plain)).names


@given(inspections())
@settings(max_examples=40, deadline=None)
def test_payload_holds_the_numbers(inspection: Inspection) -> None:
    data = json.loads(Page(render_html(inspection)).data["data"])
    assert data["label"] == printable(inspection.traces[0].probe_label).removesuffix(", nats")
    for trace, row in zip(inspection.traces, data["completions"], strict=True):
        assert row["s"] == pytest.approx(trace.information, abs=1e-6)
        assert row["v"] == pytest.approx(trace.probes, abs=1e-6)
        assert row["m"] == list(map(int, trace.measured))
        assert (row["h"] is None) == (trace.policy_entropy is None)


@given(inspections())
@settings(max_examples=20, deadline=None)
def test_deterministic_and_utf8(inspection: Inspection) -> None:
    page = render_html(inspection)
    assert page == render_html(inspection)
    assert page.encode().decode() == page


def test_hostile_text_is_inert() -> None:
    trace = trace_of((HOSTILE, '" onfocus="x', "ok"), (0.5, -0.2, 0.0), prompt=HOSTILE, answer=HOSTILE, label=HOSTILE)
    page = Page(render_html(Inspection((trace,), {HOSTILE: HOSTILE}, title=HOSTILE)))
    assert "img" not in page.names
    assert page.names.count("script") == 2
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert set(page.data) == {"data", "code"}
    assert "<" not in page.data["data"]


def test_only_the_pages_own_script_and_style_are_allowed() -> None:
    page = render_html(Inspection((trace_of(("a",), (0.1,)),)))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    for kind in ("script", "style"):
        body = re.search(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'")
    assert "unsafe" not in policy[1]
    assert " style=" not in page
    assert not re.search(r"https?://|url\(|@import|src=", page)


def test_shades_follow_the_edges_and_the_mask() -> None:
    trace = trace_of(tuple("abcde"), (0.0, 0.01, -0.05, 2.0, 2.0), measured=(True, True, True, True, False))
    classes = Page(render_html(Inspection((trace,)))).classes
    assert [classes[f"c0t{t}"] - {"t"} for t in range(5)] == [set(), {"p1"}, {"n2"}, {"p5"}, {"off"}]


def test_empty_completion_renders() -> None:
    page = Page(render_html(Inspection((trace_of((), ()), trace_of(("a",), (0.1,))))))
    assert list(page.tokens) == ["c1t0"]


def test_bars_have_the_height_of_their_information() -> None:
    page = render_html(Inspection((trace_of(tuple("abc"), (0.5, -0.25, 0.125)),)))
    heights = {}
    for name in ("more", "less"):
        path = re.search(rf'class="{name}" d="([^"]*)"', page)
        assert path is not None
        heights[name] = [float(a) - float(b) for a, b in re.findall(r"M[\d.]+ ([\d.]+)H[\d.]+V([\d.]+)", path[1])]
    assert heights["more"][0] == pytest.approx(4 * heights["more"][1], rel=0.01)
    assert heights["less"][0] == pytest.approx(-2 * heights["more"][1], rel=0.01)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_contrast_is_wcag_aa(mode: int) -> None:
    style = files("iapo.inspection").joinpath("page.css").read_text(encoding="utf-8")
    pairs = dict(re.findall(r"--(\w+): light-dark\((#\w{6}, #\w{6})\)", style))
    color = {name: pair.split(", ")[mode] for name, pair in pairs.items()}
    shades = [f"{sign}{step}" for sign in "pn" for step in range(1, 6)]
    on = [("ink", shade) for shade in shades] + [("ink", "paper"), ("ink", "raised"), ("paper", "ink")]
    on += [("soft", "paper"), ("soft", "raised"), ("link", "paper")]
    on += [("soft", f"{sign}{step}") for sign in "pn" for step in (1, 2)]
    weak = {pair: ratio for pair in on if (ratio := contrast(color[pair[0]], color[pair[1]])) < 4.5}
    assert weak == {}
    graphics = [("more", "paper"), ("less", "paper")]
    assert min(contrast(color[a], color[b]) for a, b in graphics) >= 3
    steps = [luminance(color[shade]) for shade in shades]
    for scale in (steps[:5], steps[5:]):
        assert scale == sorted(scale, reverse=mode == 0)


def test_label_of_the_quantity_is_shown() -> None:
    assert LABEL.removesuffix(", nats") in render_html(Inspection((trace_of(("a",), (0.1,)),)))
