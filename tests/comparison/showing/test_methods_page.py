"""The page of a comparison: what is on it, and that nothing else is."""

import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from comparison_folders import SETTINGS, made_up_plan, write_evaluation, write_run
from summaries import made_up_comparison, summary_of

from iapo.comparison.running.plan import Method, Run
from iapo.comparison.running.problems import problems_path
from iapo.comparison.running.results import BASE_FOLDER, evaluation_file
from iapo.comparison.running.runner import Outcome
from iapo.comparison.showing.page import render_page
from iapo.comparison.showing.report import render_report, results_json
from iapo.ops.json_files import read_sealed, write_sealed


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    return made_up_comparison(tmp_path_factory.mktemp("comparison"))


class Links(HTMLParser):
    """Every address on a page, every id, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {values["id"]} if "id" in values else set()
        self.links += [values["href"]] if "href" in values else []
        assert tag not in ("script", "link", "img", "iframe", "object")
        assert "style" not in values

    def handle_data(self, data):
        self.text += data


def test_the_page_has_all_methods_and_no_dead_link(made_up):
    _, folder, summary = made_up
    page = Links(render_page(summary))
    for name in ("base", "grpo", "iapo", "iapo-paper", "alpha=0.1", "alpha=0.5", "†"):
        assert name in page.text
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert not re.match(r"[a-z]+:|/", link)
            assert (folder / unquote(link)).exists(), link
    for result in summary.results:
        assert f"{result.folder}/" in [unquote(link) for link in page.links]
    assert len(page.links) > 100


def test_the_page_shows_all_that_was_promised(made_up):
    page = render_page(made_up[2])
    for title in ("Accuracy at a budget", "Right and wrong"):
        assert f"<h2>{title}</h2>" in page
    for title in ("Accuracy against length", "Several samples", "By difficulty", "What the tokens do", "Learning"):
        assert f"<h2>{title}</h2>" in page
    for label in ("Pass@k", "Length@k, tokens", "Ratio@k, 1 / token", "difficulty", "tokens sampled, thousands"):
        assert label in page
    assert page.count("<svg") == 1 + 1 + 3 + 2 + 1 + 2
    section = page[page.index("<h2>By difficulty</h2>") : page.index("<h2>What the tokens do</h2>")]
    assert section.count('class="bar"') == 2 * 3 * len(made_up[2].methods), "an interval at every level"
    assert "http" not in page.replace("http-equiv", "")
    assert page == render_page(made_up[2])


def test_the_page_begins_with_accuracy_against_length(made_up):
    page = render_page(made_up[2])
    first = page[page.index("<h2>") : page.index("<h2>", page.index("<h2>") + 1)]
    assert "<h2>Accuracy against length</h2>" in first
    assert first.count('class="bar"') == len(made_up[2].methods), "with the intervals of every method"
    assert page.index("Ratio@") > page.index(first) + len(first)


def test_hostile_text_stays_text(made_up):
    plan, folder, _ = made_up
    evil = "<script>alert(1)</script>\x1b[2J"
    page = render_page(summary_of(plan, folder, {"grpo/default/seed-0": Outcome("failed", evil)}))
    assert "<script" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page


def test_data_without_difficulty_or_classes_have_fewer_sections(tmp_path):
    method = Method("grpo", "grpo", "default", {"default": SETTINGS})
    plan = made_up_plan((method,))
    content = {"split": "test", "samples": 4, "settings": SETTINGS, "rows": [{"prompt": str(i)} for i in range(6)]}
    write_sealed(problems_path(tmp_path, "test"), content)
    write_evaluation(tmp_path, BASE_FOLDER, "test", 0.5, 20, 4)
    write_run(tmp_path, Run(method, "default", 0, "test"), 0.5, 20, 4)
    unknown = ("classes", "shortest", "truncated", "at_budget")
    for run in (BASE_FOLDER, "grpo/default/seed-0"):
        path = tmp_path / run / evaluation_file("test")
        write_sealed(path, {name: value for name, value in read_sealed(path).items() if name not in unknown})
    summary = summary_of(plan, tmp_path)
    page, row = render_page(summary), json.loads(results_json(summary))[0]
    assert "By difficulty" not in page
    assert "What the tokens do" not in page
    assert "above shortest" not in page
    assert "at a budget" not in page
    assert "<th>area</th>" not in page
    assert "<th>truncated</th>" not in page
    assert row["accuracy_hard"] is row["token_classes"] is row["shortest_length"] is None
    assert render_report(summary)
