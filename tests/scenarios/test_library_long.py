"""The scenarios that take long: a consolidation that does not converge."""

from __future__ import annotations

from itertools import pairwise

from scenarios.living import of
from stuntdouble.hypervisor import Parameters


@of("never-converges")
def test_a_guest_that_outruns_consolidation_is_stunned_for_minutes(outcome):
    software = outcome.result.methods["software"]
    merging = software.consolidation
    assert merging.converged is False
    assert merging.rounds == len(Parameters().helper_budgets_seconds)
    assert merging.seconds > 3600
    assert software.stuns.longest_seconds > 120
    assert software.stalls.over_60_seconds == 1
    # One to freeze the disks, one for each helper, and the one that ends it.
    assert software.stuns.count == 1 + merging.rounds + 1
    others = software.stuns.total_seconds - software.stuns.longest_seconds
    assert others < 1.0 * (software.stuns.count - 1)


@of("never-converges")
def test_helpers_do_not_shrink_from_round_to_round(outcome):
    software = outcome.result.methods["software"]
    stuns = [event.time for event in software.events if event.kind == "stun"]
    # From helper to helper; the snapshot comes before, the long stun at the end.
    rounds = [end - start for start, end in pairwise(stuns[1:-1])]
    assert min(rounds) > 0.5 * max(rounds)
    assert min(rounds) > 10 * Parameters().helper_stun_seconds_max


@of("never-converges")
def test_the_other_methods_converge_on_the_same_site(outcome):
    software = outcome.result.methods["software"]
    for name in ("storage", "mounted"):
        method = outcome.result.methods[name]
        assert method.consolidation.converged is True
        assert method.consolidation.rounds == 1
        assert method.stuns.longest_seconds < Parameters().helper_stun_seconds_max
        assert method.stalls.over_30_seconds == 0
        excess = method.foreground.whole.excess_latency_seconds
        assert excess < software.foreground.whole.excess_latency_seconds / 100


@of("never-converges")
def test_the_pool_is_as_busy_before_as_its_source_says(outcome):
    for method in outcome.result.methods.values():
        assert 0.30 <= method.array_utilisation.before <= 0.40


@of("never-converges")
def test_the_budgets_are_those_of_the_field(outcome):
    asked = outcome.scenario.hypervisor
    assert asked["consolidation"] == "helper"
    minutes = [int(text.removesuffix(" min")) for text in asked["helper_budgets_seconds"]]
    assert minutes == [seconds / 60 for seconds in Parameters().helper_budgets_seconds]
