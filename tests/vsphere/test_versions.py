from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from stuntdouble.errors import Misuse
from stuntdouble.vsphere.versions import find_version, negotiate, service_versions, version_id


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("8.0.3.0", "8.0.3.0"),
        ("7.0", "7.0.0.0"),
        ("6.7", "6.7"),
        ("6.7.0.0", "6.7"),
        ("8.0.2.9", "8.0.2.0"),
        ("2", "2.0"),
    ],
)
def test_a_version_is_found_by_its_number_or_the_one_before(asked: str, found: str) -> None:
    assert version_id(find_version(asked)) == found


@pytest.mark.parametrize("asked", ["", "1.9", "new", "8.0.3.0.1", "8.", "-8"])
def test_what_is_no_version_is_refused_in_one_line(asked: str) -> None:
    with pytest.raises(Misuse, match=r"is none from 2\.0 to ") as caught:
        find_version(asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("newest", ["8.0.3.0", "7.0", "6.7"])
def test_a_client_reads_the_newest_version_and_those_before_it(newest: str) -> None:
    root = ET.fromstring(service_versions(find_version(newest)))
    space = root.find("namespace")
    assert space is not None
    assert root.get("version") == "1.0"
    assert space.findtext("name") == "urn:vim25"
    assert find_version(space.findtext("version") or "") == find_version(newest)
    prior = [each.text or "" for each in space.findall("priorVersions/version")]
    numbers = [
        tuple(map(int, each.split("."))) for each in prior if each.replace(".", "").isdigit()
    ]
    assert numbers == sorted(numbers, reverse=True)
    assert "6.5" in prior
    assert space.findtext("version") not in prior


@pytest.mark.parametrize(
    ("action", "version"),
    [
        ('"urn:vim25/8.0.3.0"', "8.0.3.0"),
        ("urn:vim25/6.7", "6.7"),
        ('"urn:vim25/9.1.1.0"', "8.0.3.0"),
        ('"urn:vim25/7.0.3.7"', "7.0.3.2"),
        ('"urn:vim25/1.0"', "2.0"),
        ("", "8.0.3.0"),
        ('"urn:vim25"', "8.0.3.0"),
        ("urn:pbm/2.0", "8.0.3.0"),
        ('"urn:vim25/8.0.3.0" and more', "8.0.3.0"),
        ("urn:vim25/" + "9" * 10_000, "8.0.3.0"),
    ],
)
def test_the_client_says_in_which_version_to_answer(action: str, version: str) -> None:
    assert version_id(negotiate(action, find_version("8.0.3.0"))) == version
