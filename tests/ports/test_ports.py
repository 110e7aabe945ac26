"""The seams: values that check themselves, and protocols that every implementation satisfies."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble import ports
from stuntdouble.adapters.wsapi import WsapiArray
from stuntdouble.array import LocalArray, LocalInitiator, LocalLun
from stuntdouble.backup.repository import Repository
from stuntdouble.hypervisor import LocalHypervisor


@given(
    depth=st.integers(-3, 300),
    block=st.integers(0, 1 << 24),
    rate=st.floats(-1, 1e9, allow_nan=False),
)
def test_a_throttle_is_sound_or_refused(depth, block, rate):
    sound = depth >= 1 and block >= 512 and rate >= 0
    if sound:
        throttle = ports.Throttle(depth, block, rate)
        assert (throttle.depth, throttle.block_bytes, throttle.bytes_per_second) == (
            depth,
            block,
            rate,
        )
    else:
        with pytest.raises(ValueError, match="depth >= 1"):
            ports.Throttle(depth, block, rate)


@pytest.mark.parametrize(
    ("protocol", "implementation"),
    [
        (ports.Hypervisor, LocalHypervisor),
        (ports.Array, LocalArray),
        (ports.Array, WsapiArray),
        (ports.Initiator, LocalInitiator),
        (ports.BlockDevice, LocalLun),
        (ports.Repository, Repository),
    ],
)
def test_an_implementation_takes_what_its_protocol_says(protocol, implementation):
    asked = {
        name: value
        for name, value in vars(protocol).items()
        if not name.startswith("_") and callable(value)
    }
    assert asked
    for name, call in asked.items():
        wanted = list(inspect.signature(call).parameters)
        found = list(inspect.signature(getattr(implementation, name)).parameters)
        assert found[: len(wanted)] == wanted, f"{implementation.__name__}.{name}"
