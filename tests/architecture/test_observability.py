"""The dashboard, the alerts and the pages about them name metrics, labels, panels and paragraphs
that there are. (`make alarms` sees the alerts fire.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from shared.metrics import LABELS, REGISTRY, SERVICE, exposition
from tests.alarms.rules import alerts

ROOT = Path(__file__).parent.parent.parent
DASHBOARD: dict[str, Any] = json.loads(
    (ROOT / "deploy/observability/grafana/parley.json").read_text()
)
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
METRICS_PAGE = (ROOT / "docs/metrics.md").read_text()
ALERTS_PAGE = (ROOT / "docs/alerts.md").read_text()
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}
OF_PROMETHEUS = {"up": {"job"}, "ALERTS": {"alertname", "alertstate"}}
OF_EACH_TARGET = {"job", "instance"}
FEW = {
    *("cause", "code", "direction", "limit", "method", "outcome", "phase", "schema", "state"),
    *("status", "store", "tool", "version"),
}
"""Labels whose values are few and ours. An owner's or a conversation's is not among them."""
WORDS = {"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "offset"}
QUOTED = re.compile(r'"[^"]*"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"([a-zA-Z_]\w*)\s*\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|=|!=)\s*"([^"]*)"')
LEGEND = re.compile(r"\{\{(\w+)\}\}")


def families(registry: CollectorRegistry) -> dict[str, str]:
    """The name and the kind of each metric."""
    return {family.name: family.type for family in registry.collect()}


CATALOGUE = families(REGISTRY) | families(SERVICE)


def exposed() -> dict[str, set[str]]:
    """Each name that Prometheus may be asked for, and its labels."""
    found = dict(OF_PROMETHEUS)
    for name, kind in CATALOGUE.items():
        for suffix in SUFFIXES[kind]:
            labels = set(LABELS.get(name, ())) | ({"le"} if suffix == "_bucket" else set[str]())
            found[name + suffix] = labels
    return found


EXPOSED = exposed()


def known_values() -> dict[tuple[str, str], set[str]]:
    """What there is of a label of a metric."""
    found: dict[tuple[str, str], set[str]] = {}
    for family in text_string_to_metric_families(exposition().decode()):
        for sample in family.samples:
            for label, value in sample.labels.items():
                found.setdefault((sample.name, label), set()).add(value)
    return found


KNOWN = known_values()
"""From the start: as this is loaded no test has run yet that makes more."""


def expressions() -> Iterator[tuple[str, str, str]]:
    """Where it stands, the query, and how its lines are called."""
    for rule in alerts():
        yield rule["alert"], rule["expr"], ""
    for panel in PANELS:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"], annotation["titleFormat"]


def names_in(expression: str) -> set[str]:
    """Whatever is neither a function nor a word of the language nor a label."""
    bare = GROUPING.sub(" ", QUOTED.sub(" ", expression))
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    found = re.findall(r"([a-zA-Z_]\w*)\s*(\(?)", bare)
    return {name for name, call in found if not call and name not in WORDS}


ALL = list(expressions())


@pytest.mark.parametrize(("where", "expression", "legend"), ALL, ids=[where for where, _, _ in ALL])
def test_a_query_asks_for_what_there_is(where: str, expression: str, legend: str) -> None:
    names = names_in(expression)
    assert names
    assert names <= EXPOSED.keys()
    for name, matchers in SELECTOR.findall(expression):
        for label, sign, wanted in MATCHER.findall(matchers):
            assert label in EXPOSED[name] | OF_EACH_TARGET, (name, label)
            values = KNOWN.get((name, label))
            if values is None or name in OF_PROMETHEUS:
                continue
            asked = wanted.split("|") if "~" in sign else [wanted]
            assert all(any(re.fullmatch(one, value) for value in values) for one in asked), wanted
    grouped = {
        label.strip() for labels in GROUPING.findall(expression) for label in labels.split(",")
    }
    there_are = OF_EACH_TARGET.union(*(EXPOSED[name] for name in names))
    assert grouped <= there_are
    assert set(LEGEND.findall(legend)) <= grouped | OF_EACH_TARGET


def test_no_label_can_have_many_values() -> None:
    assert {label for labels in LABELS.values() for label in labels} <= FEW


def test_what_is_counted_by_a_label_is_there_from_the_start() -> None:
    """But where the values are not known before: a tool, a status, a failure of the model."""
    later = {"parley_http_request_seconds", "parley_tool_call_seconds", "parley_model_call_seconds"}
    known = {name for name, _ in KNOWN}
    missing = {
        name
        for name, kind in CATALOGUE.items()
        if LABELS.get(name)
        and kind in ("counter", "histogram")
        and not any(name + suffix in known for suffix in SUFFIXES[kind])
    }
    assert missing == later


def rows_of_the_page() -> dict[str, tuple[str, str]]:
    """The kind and the labels of each metric, as docs/metrics.md has them."""
    row = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| [^|]+ \|$", re.MULTILINE)
    return {name: (kind, labels.strip()) for name, kind, labels in row.findall(METRICS_PAGE)}


def test_every_metric_is_on_its_page_with_its_labels() -> None:
    expected = {
        (f"{name}_total" if kind == "counter" else name): (
            kind,
            ", ".join(f"`{label}`" for label in LABELS.get(name, ())),
        )
        for name, kind in CATALOGUE.items()
    }
    assert rows_of_the_page() == expected


def test_every_metric_is_on_the_dashboard_or_named_as_not() -> None:
    said = re.search(r"^Not on the dashboard: (.+?)\.$", METRICS_PAGE, re.MULTILINE)
    assert said is not None
    left_out = set(re.findall(r"`(\w+)`", said[1]))
    asked = {name for _, expression, _ in ALL for name in names_in(expression)}
    shown = {
        name
        for name, kind in CATALOGUE.items()
        if any(name + suffix in asked for suffix in SUFFIXES[kind])
    }
    assert shown | left_out == CATALOGUE.keys()
    assert not shown & left_out


def test_panels_have_numbers_of_their_own_and_don_t_overlap() -> None:
    numbers = [panel["id"] for panel in PANELS]
    assert len(numbers) == len(set(numbers))
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_says_what_it_shows_and_asks_the_chosen_source() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    chosen = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    assert [one["datasource"] for one in DASHBOARD["annotations"]["list"]] == [chosen]
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            sources = [panel["datasource"], *(t["datasource"] for t in panel["targets"])]
            assert sources == [chosen] * len(sources), panel["title"]


def row_and_title(number: int) -> str:
    row = ""
    for panel in PANELS:
        row = panel["title"] if panel["type"] == "row" else row
        if panel["id"] == number:
            return f"{row}: {panel['title']}"
    raise AssertionError(f"There is no panel {number}")


def linked(url: str) -> int:
    found = re.match(rf"/d/{DASHBOARD['uid']}\?viewPanel=(\d+)(?:&|$)", url)
    assert found is not None, url
    return int(found[1])


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_its_cause_and_to_what_to_do(rule: dict[str, Any]) -> None:
    name, said = rule["alert"], rule["annotations"]
    assert rule["labels"]["severity"]
    assert said["summary"]
    assert said["description"]
    headings = {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", ALERTS_PAGE, re.MULTILINE)
    }
    page, _, anchor = said["runbook_url"].partition("#")
    assert page == "docs/alerts.md"
    assert anchor == name.lower()
    assert anchor in headings
    cause = linked(said["dashboard"])
    assert row_and_title(cause) == said["panel"]
    # In the first row stands one figure for it, from where one click leads there.
    (figure,) = (p for p in PANELS if p["type"] == "stat" and name in p["description"])
    links = [*figure["links"], *figure["fieldConfig"]["defaults"]["links"]]
    assert {linked(link["url"]) for link in links} == {cause}


def test_every_figure_of_the_first_row_is_an_alert_s() -> None:
    named = {rule["alert"] for rule in alerts()}
    for panel in PANELS:
        if panel["type"] == "stat":
            assert panel["description"].partition(":")[0] in named
