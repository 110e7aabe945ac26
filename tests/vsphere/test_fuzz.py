from __future__ import annotations

import random
from collections import Counter

import pytest

from stuntdouble.vsphere.request import BadRequest, Call, UnknownMethod, parse_call
from vsphere.mutations import mutated, seeds

REQUESTS = 100_000


def outcome(body: bytes) -> str:
    """Read a request; return what came of it.  Nothing but the two refusals may come out."""
    try:
        call: Call | None = parse_call(body)
    except (BadRequest, UnknownMethod) as refusal:
        call, said = None, str(refusal)
        assert "\n" not in said, said
        assert len(said) < 1_000, said
    return "refused" if call is None else "read"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_request_that_is_nearly_right_is_read_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    right = seeds(rng, 200)
    assert {outcome(body.replace(b"\r", b"")) for body in right} == {"read"}
    seen = Counter(outcome(mutated(rng, rng.choice(right))) for _ in range(REQUESTS // 2))
    assert min(seen["read"], seen["refused"]) > REQUESTS // 50
