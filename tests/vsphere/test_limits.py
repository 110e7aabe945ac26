"""Limits that the hypervisor has reached, in the words of the API."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from stuntdouble.errors import LimitReached
from stuntdouble.vsphere.faults import fault_of


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("snapshot levels of web-1", vim.fault.TooManySnapshotLevels),
        ("tracked disks open on host host-1", vim.fault.ResourceInUse),
    ],
)
def test_a_limit_is_a_fault(what: str, kind: Any) -> None:
    center: Any = None  # neither fault needs one
    fault = fault_of(LimitReached(what, 3), center)
    assert type(fault) is kind
    assert what in fault.msg
