"""The page: one file, no network, no name ever runs, the same result gives the same bytes."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import plotly.io
import pytest
from hypothesis import given, settings
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from results.made_up import arbitrary, method_result, plausible, point, series
from stuntdouble.errors import Misuse
from stuntdouble.results import Event, Leftover, dump, load, page_html, plots, publish
from stuntdouble.results.elements import Markup, element

LIBRARY = get_plotlyjs()
VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = "<script>alert('x')</script>\"&<img src=http://evil.example/x onerror=alert(1)>"


class Outline(HTMLParser):
    """The tags, attributes and text of a page; fails on tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" not in self.open and "style" not in self.open:
            self.words.append(data)


def page_without_library(result):
    page = page_html(result)
    assert page.count(LIBRARY) == 1
    return page.replace(LIBRARY, "")


def test_the_page_holds_its_parts_and_nests():
    page = page_without_library(plausible())
    outline = Outline(page)
    text = " ".join(outline.words)
    for part in [
        "At a glance", "Over time", "Side by side", "Restore points", "Assumptions", "Reproduce",
        "stuntdouble compare quickstart --seed 7", "The backup window of 30 minutes",
        "storage-db-01-0001", "one measurement on vSphere 5.5", "The storage snapshot cost the guests least",
    ]:  # fmt: skip
        assert part in text
    assert outline.tags.count("h1") == 1
    assert outline.tags.count("figure") == outline.tags.count("figcaption") == 4
    assert outline.tags.count("table") == outline.tags.count("caption")
    ids = [value for _, name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert set(ids) >= {"plot-latency", "plot-iops", "plot-delta", "plot-utilisation"}


def test_nothing_is_loaded_from_a_network():
    page = page_without_library(plausible())
    outline = Outline(page)
    assert not {"link", "iframe", "img", "object", "embed"} & set(outline.tags)
    assert not [
        a for a in outline.attributes if a[1] in {"src", "href", "srcset", "data", "action"}
    ]
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|url\(|@import", page)


def test_the_same_result_gives_the_same_bytes():
    result = plausible()
    assert page_html(result) == page_html(load(dump(result)))


def test_a_hostile_name_is_shown_and_never_run():
    software = method_result("software")
    vm = software.vms[0].model_copy(update={"name": HOSTILE})
    event = Event(time=300.0, kind="stun", subject=HOSTILE, text=HOSTILE)
    method = software.model_copy(
        update={
            "vms": (vm,),
            "events": (event,),
            "restore_points": (point("software", HOSTILE),),
            "leftovers": (Leftover(kind=HOSTILE, name=HOSTILE),),
        }
    )
    result = plausible(
        ("software",),
        methods={"software": method},
        scenario=HOSTILE,
        title=HOSTILE,
        command=HOSTILE,
        notes=(HOSTILE,),
    )
    page = page_without_library(result)
    assert "<script>alert" not in page
    assert "<img" not in page
    outline = Outline(page)
    assert outline.tags.count("script") == Outline(
        page_without_library(plausible(("software",)))
    ).tags.count("script")
    assert HOSTILE in "".join(outline.words)


@settings(max_examples=8)
@given(arbitrary())
def test_any_result_makes_a_page_that_nests_and_loads_nothing(result):
    outline = Outline(page_without_library(result))
    assert not [a for a in outline.attributes if a[1] in {"src", "href"}]
    assert "table" in outline.tags


def figures():
    result = plausible()
    return [draw(result) for draw in (
        plots.latency_figure, plots.iops_figure, plots.delta_figure, plots.utilisation_figure
    )]  # fmt: skip


@pytest.mark.parametrize("number", range(4))
def test_plotly_knows_every_property_that_is_drawn(number):
    """The page hands them to the library as they are: a wrong name would be left out in silence."""
    figure = figures()[number]
    validated = json.loads(plotly.io.to_json(Figure(figure), validate=True))
    expected = json.loads(json.dumps(figure))
    del validated["layout"]["template"], expected["layout"]["template"]  # an empty one is filled in
    assert validated == expected


def test_a_figure_in_the_page_is_the_one_that_was_drawn():
    page = page_without_library(plausible())
    drawn = [
        json.loads(f"[{text}]") for text in re.findall(r"Plotly\.newPlot\((.*?)\);</script>", page)
    ]
    by_name = {name: {"data": data, "layout": layout} for name, data, layout, _ in drawn}
    names = ("plot-latency", "plot-iops", "plot-delta", "plot-utilisation")
    assert by_name == dict(zip(names, json.loads(json.dumps(figures())), strict=True))


def test_all_methods_share_one_scale():
    from stuntdouble.results.plots import latency_figure

    figure = latency_figure(plausible())
    axes = [axis for name, axis in figure["layout"].items() if name.startswith("yaxis")]
    assert len(axes) == 3
    assert {tuple(axis["range"]) for axis in axes} == {tuple(axes[0]["range"])}
    low, high = axes[0]["range"]
    drawn = [y for trace in figure["data"] for y in trace["y"] if y is not None]
    assert 10**low <= min(drawn) <= max(drawn) <= 10**high
    assert {trace["xaxis"] for trace in figure["data"] if "xaxis" in trace} == set()


def test_stuns_and_phases_are_on_the_time_line():
    from stuntdouble.results.plots import latency_figure

    figure = latency_figure(plausible(("storage",)))
    stuns = next(trace for trace in figure["data"] if trace["name"] == "stun")
    assert len(stuns["x"]) == 5
    assert stuns["x"][0] == pytest.approx(302 / 60, rel=1e-4)
    assert len(figure["layout"]["shapes"]) == 4  # before and after are not shaded


@pytest.mark.parametrize(("hours", "unit"), [(0.05, "seconds"), (1, "minutes"), (9, "hours")])
def test_the_time_axis_has_a_readable_unit(hours, unit):
    from stuntdouble.results.plots import iops_figure

    facts = dict(series("storage"))
    step = hours * 3600 / len(facts["time"])
    scaled = facts | {
        "bin_seconds": step,
        "time": tuple(step * i for i in range(len(facts["time"]))),
    }
    line = type(series("storage"))(**scaled)
    method = method_result("storage").model_copy(update={"series": line, "phases": ()})
    figure = iops_figure(plausible(("storage",), methods={"storage": method}))
    assert figure["layout"]["xaxis"]["title"]["text"] == f"{unit} since the run began"


def test_markup_is_trusted_and_text_is_not():
    inner = element("b", "<&>")
    assert element("p", inner, "\x1b[0m", class_='"') == (
        '<p class="&quot;"><b>&lt;&amp;&gt;</b>\N{REPLACEMENT CHARACTER}[0m</p>'
    )
    assert isinstance(inner, Markup)


def test_publish_writes_both_files_whole(tmp_path):
    result = plausible()
    directory = tmp_path / "new" / "report"
    paths = publish(result, directory)
    assert [path.name for path in paths] == ["result.json", "index.html"]
    assert load(paths[0].read_bytes()) == result
    assert paths[1].read_text("utf-8") == page_html(result)
    assert publish(result, directory) == paths  # once more: replaced, not refused
    assert sorted(path.name for path in directory.iterdir()) == ["index.html", "result.json"]


def test_publish_into_a_file_is_misuse(tmp_path):
    (tmp_path / "report").write_text("mine")
    with pytest.raises(Misuse, match="cannot write the report") as caught:
        publish(plausible(("storage",)), tmp_path / "report")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "report").read_text() == "mine"


def test_publish_over_a_directory_is_misuse_and_writes_nothing(tmp_path):
    (tmp_path / "index.html").mkdir()
    with pytest.raises(Misuse, match="is a directory"):
        publish(plausible(("storage",)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


@pytest.mark.parametrize("tidy", [True, False])
def test_a_full_disk_leaves_no_partial_file(tmp_path, monkeypatch, tidy):
    from pathlib import Path

    (tmp_path / "result.json").write_text("old")
    write = Path.write_text

    def full(self, text, **settings):
        if "index" in self.name:
            write(self, text[:100], **settings)
            raise OSError(28, "No space left on device")
        return write(self, text, **settings)

    def stuck(self, *, missing_ok=False):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "write_text", full)
    if not tidy:
        monkeypatch.setattr(Path, "unlink", stuck)
    with pytest.raises(Misuse, match="No space left on device"):
        publish(plausible(("storage",)), tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "result.json").read_text() == "old"
    parts = [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")]
    assert bool(parts) is not tidy
