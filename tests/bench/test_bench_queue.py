"""The queue everybody serves: the same completions, or it is said why there are none."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from stuntdouble.bench import queue, rivals
from stuntdouble.errors import Bug

TINY = queue.Sizes(recursion=3000, callbacks=2000, processes=1000, slow=500)
MEAN_RESPONSE = 1.745541  # M/M/4 at load 0.8, service mean 1 (Erlang C)


@pytest.fixture
def compiler(monkeypatch):
    """Return a function that sets the compiler, and forget what was compiled."""
    rivals.compiled_recursion.cache_clear()
    yield lambda name: monkeypatch.setenv("CC", name)
    rivals.compiled_recursion.cache_clear()


def test_everybody_who_is_there_agrees() -> None:
    samples = {case.name: case.run() for case in queue.cases(TINY) if not case.missing}
    assert {"SimPy, a process per I/O", "SimPy, callbacks", "our fast path"} <= set(samples)
    assert all(sample.facts["equal to the bit"] > 0.9 for sample in samples.values())
    assert samples["our fast path"].ios == 3000
    assert all(sample.seconds > 0 for sample in samples.values())


def test_the_recursion_has_the_mean_response_of_theory() -> None:
    arrived, built = queue.drawn(400_000)
    _, completed = queue.fast_path(arrived, built)
    assert np.mean(completed - arrived) == pytest.approx(MEAN_RESPONSE, rel=0.03)


def test_a_wrong_completion_is_noticed() -> None:
    def wrong(arrived, built):
        seconds, completed = queue.fast_path(arrived, built)
        completed[-1] *= 1.001
        return seconds, completed

    with pytest.raises(Bug, match="different completions"):
        queue._measure("who is wrong", 100, wrong)
    with pytest.raises(Bug, match="different completions"):
        queue._measure("who loses one", 100, lambda a, b: queue.fast_path(a[:-1], b[:-1]))


@pytest.mark.parametrize("name", ["no-such-compiler", sys.executable])
def test_without_a_compiler_that_works_c_is_left_out(compiler, name) -> None:
    compiler(name)
    (case,) = [case for case in queue.cases(TINY) if case.name == "C recursion"]
    assert name in case.missing
    with pytest.raises(AssertionError, match="nobody"):
        case.run()


def test_without_any_compiler_it_says_what_to_install(compiler, monkeypatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(rivals.shutil, "which", lambda _name: None)
    assert "install" in rivals.compiled_recursion(4).missing


def test_who_is_not_installed_is_told_how_to_be() -> None:
    assert rivals.missing("no_such_simulator") == "not installed: make bench"
    assert rivals.missing("simpy") == ""


class Clock:
    """What salabim offers, for as much of it as the benchmark uses: a heap of generators."""

    def __init__(self, **_options) -> None:
        self.time, self.due, self.serial = 0.0, [], 0
        Clock.latest = self

    def now(self) -> float:
        return self.time

    def plan(self, component, time) -> None:
        self.serial += 1
        self.due.append((time, self.serial, component))

    def run(self) -> None:
        while self.due:
            self.due.sort(key=lambda entry: entry[:2])
            self.time, _, component = self.due.pop(0)
            next(component.model, None)


class Component:
    """A process of that clock."""

    def __init__(self) -> None:
        self.clock, self.model = Clock.latest, self.process()
        self.clock.plan(self, 0.0)

    def hold(self, seconds=0.0, till=None) -> None:
        self.clock.plan(self, self.clock.time + seconds if till is None else till)

    def passivate(self) -> None:
        pass

    def activate(self) -> None:
        self.clock.plan(self, self.clock.time)


def test_salabim_serves_by_four_sleepers(monkeypatch) -> None:
    fake = SimpleNamespace(Environment=Clock, Component=Component)
    monkeypatch.setitem(sys.modules, "salabim", fake)
    arrived, built = queue.drawn(300)
    _, completed = rivals.salabim(arrived, built)
    assert np.allclose(completed, queue.fast_path(arrived, built)[1])


class Simulation:
    """What Ciw offers, for as much of it as the benchmark uses."""

    def __init__(self, network) -> None:
        self.network = network

    def simulate_until_max_customers(self, count, method) -> None:
        assert method == "Finish"
        gaps, built = self.network["arrival_distributions"], self.network["service_distributions"]
        assert gaps[0][-1] == float("inf")
        arrived = np.add.accumulate(np.array(gaps[0][:-1]))
        self.ends = queue.fast_path(arrived[:count], np.array(built[0]))[1]

    def get_all_records(self):
        ends = [SimpleNamespace(id_number=i, service_end_date=t) for i, t in enumerate(self.ends)]
        return ends[::-1]


def test_ciw_serves_by_a_network_of_one_node(monkeypatch) -> None:
    fake = SimpleNamespace(
        create_network=lambda **parts: parts,
        Simulation=Simulation,
        dists=SimpleNamespace(Sequential=list),
    )
    monkeypatch.setitem(sys.modules, "ciw", fake)
    arrived, built = queue.drawn(300)
    _, completed = rivals.ciw(arrived, built)
    assert np.allclose(completed, queue.fast_path(arrived, built)[1])
