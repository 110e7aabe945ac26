"""The result as text: nothing is lost, nothing is added, the same result gives the same bytes."""

from __future__ import annotations

import json
import math

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from results.made_up import arbitrary, method_result, plausible, point, series
from stuntdouble.errors import Misuse
from stuntdouble.results import (
    METHOD_NAMES,
    Leftover,
    Result,
    dump,
    load,
    published_schema,
    schema_text,
)
from stuntdouble.results.figures import SIGNIFICANT_DIGITS, rounded

VALIDATOR = jsonschema.Draft202012Validator(json.loads(published_schema()))


@settings(max_examples=40)
@given(arbitrary())
def test_what_is_written_is_what_is_read_and_fits_the_schema(result):
    text = dump(result)
    again = load(text)
    assert again == result
    assert dump(again) == text
    VALIDATOR.validate(json.loads(text))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rounding_keeps_nine_digits_and_is_idempotent(value):
    once = rounded(value)
    assert rounded(once) == once
    assert math.isclose(once, value, rel_tol=10.0 ** (1 - SIGNIFICANT_DIGITS))
    assert math.copysign(1, rounded(-0.0)) == 1


def test_methods_are_written_in_the_order_of_reports():
    forward = plausible(METHOD_NAMES)
    backward = plausible(tuple(reversed(METHOD_NAMES)))
    assert dump(forward) == dump(backward)
    assert list(json.loads(dump(backward))["methods"]) == list(METHOD_NAMES)


def test_points_and_leftovers_of_all_methods_come_in_the_order_of_methods():
    left = {name: Leftover(kind="mapping", name=f"lun of {name}") for name in METHOD_NAMES}
    result = plausible(
        methods={
            name: method_result(name, leftovers=(left[name],)) for name in reversed(METHOD_NAMES)
        }
    )
    assert result.leftovers == tuple(left[name] for name in METHOD_NAMES)
    points = [result.methods[name].restore_points for name in METHOD_NAMES]
    assert result.restore_points == (*points[0], *points[1], *points[2])
    content = json.loads(dump(result))
    assert not {"restore_points", "leftovers"} & content.keys()
    assert content["methods"]["mounted"]["leftovers"][0]["name"] == "lun of mounted"


def test_the_text_is_readable():
    text = dump(plausible())
    assert text.endswith("}\n")
    assert text.count("\n") < 2_500  # a column of bins is one line
    assert json.loads(text)["methods"]["storage"]["stuns"]["count"] == 5


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda d: d.update(surprise=1), "surprise"),
        (lambda d: d.pop("seed"), "seed"),
        (lambda d: d.update(schema_version=2), "schema_version"),
        (lambda d: d.update(methods={}), "methods"),
        (lambda d: d["methods"]["storage"].update(delta_peak_bytes=1.5), "delta_peak_bytes"),
        (lambda d: d["methods"]["storage"]["stuns"].update(total_seconds=-1), "total_seconds"),
        (lambda d: d["methods"]["storage"]["series"].update(iops=[1]), "iops must have 540 bins"),
        (lambda d: d.update(restore_points=[]), "restore_points"),
        (lambda d: d["methods"]["storage"].pop("leftovers"), "leftovers"),
        (lambda d: d["methods"]["storage"]["restore_points"][0].pop("vm"), "restore_points.0.vm"),
    ],
)
def test_a_wrong_text_is_refused_in_one_line_that_says_where(change, where):
    content = json.loads(dump(plausible(("storage",))))
    change(content)
    with pytest.raises(Misuse) as caught:
        load(json.dumps(content))
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("result.json: ")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"seed": NaN}', b"\xff\xfe"])
def test_no_result_at_all_is_misuse(text):
    with pytest.raises(Misuse, match=r"result\.json"):
        load(text)


def test_figures_are_finite_and_whole_where_they_count():
    facts = dict(method_result("storage"))
    for field, value in [("snapshot_open_seconds", math.inf), ("delta_peak_bytes", True)]:
        with pytest.raises(ValidationError, match=field):
            type(method_result("storage"))(**(facts | {field: value}))


def test_results_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        plausible().seed = 8  # type: ignore[misc]


def test_a_series_has_as_many_values_as_bins():
    columns = dict(series("storage"))
    with pytest.raises(ValidationError, match="utilisation must have 540 bins"):
        type(series("storage"))(**(columns | {"utilisation": (0.5,)}))


def test_the_committed_schema_is_up_to_date():
    assert published_schema() == schema_text(), (
        "write stuntdouble.results.schema_text() to result.schema.json"
    )


def test_every_field_of_the_schema_is_described_and_every_object_closed():
    schema = json.loads(published_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    for name, part in [("Result", schema), *schema["$defs"].items()]:
        assert part["additionalProperties"] is False, name
        for field, content in part["properties"].items():
            assert content.get("description"), f"{name}.{field}"


def test_the_schema_refuses_what_the_model_refuses():
    content = json.loads(dump(plausible(("software",))))
    content["methods"]["software"]["restore_points"][0]["verified"] = "yes"
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(content)


def test_an_unverified_restore_point_says_null():
    unchecked = (point("software", "db-01", verified=None),)
    result = plausible(methods={"software": method_result("software", restore_points=unchecked)})
    assert '"verified": null' in dump(result)
    assert isinstance(result, Result)
