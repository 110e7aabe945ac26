"""Methods in processes of their own give what they give one after another, and fail as clearly."""

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scenarios.tiny import tiny
from stuntdouble.errors import Interrupted, Misuse, NoSpace
from stuntdouble.results import Progress, dump
from stuntdouble.scenarios import compare, parse
from stuntdouble.scenarios.sidebyside import Asked, side_by_side


class Told:
    """A progress display that remembers."""

    def __init__(self):
        self.lines = []

    def emulated(self, fraction, **facts):
        self.lines.append((fraction, facts))


@dataclass
class Sleeper:
    """A run that is over at once."""

    name: str
    seconds: float

    @property
    def asked(self):
        return Asked(self.seconds, [], {})

    def figures(self, alone):
        return f"{self.name} beside {alone}", [f"in another process: {os.getpid() != HERE}"]


HERE = os.getpid()
LENGTHS = {"a": 3.0, "b": 7.0, "c": 5.0}


def begin(name, progress):
    for step in (1, 2):
        facts = {"phase": f"{name}{step}", "seconds": step, "ios": 10 * step, "restore_points": 1}
        progress.emulated(step / 4, **facts)
    return Sleeper(name, LENGTHS[name])


def alone_for(asked):
    return f"{max(each.seconds for each in asked)} s alone"


def no_children():
    return not multiprocessing.active_children()


def test_each_gets_the_meter_of_the_longest_and_they_come_in_order():
    told = Told()
    found = side_by_side(begin, ("b", "a", "c"), alone_for, told)
    assert list(found.items()) == [
        (name, (f"{name} beside 7.0 s alone", ["in another process: True"])) for name in "bac"
    ]
    assert len(told.lines) == 6
    fraction, facts = told.lines[-1]
    assert (fraction, facts["ios"], facts["restore_points"]) == (0.5, 60, 3)
    assert all(each["phase"][0] in "abc" for _, each in told.lines)
    assert no_children()


def test_the_first_failure_in_order_is_raised_once_all_have_ended():
    def failing(name, progress):
        if name != "a":
            raise {"b": NoSpace("/there", 5, 3), "c": Misuse("c", "makes no sense")}[name]
        return begin(name, progress)

    with pytest.raises(NoSpace) as caught:
        side_by_side(failing, ("a", "b", "c"), alone_for, Told())
    assert caught.value == NoSpace("/there", 5, 3)
    assert no_children()


def test_figures_that_fail_are_raised_as_well():
    class Fails(Sleeper):
        def figures(self, alone):
            raise AssertionError("no figures")

    with pytest.raises(AssertionError, match="no figures"):
        side_by_side(lambda name, _: Fails(name, 1.0), ("a", "b"), alone_for, Told())
    assert no_children()


@pytest.mark.parametrize("when", ["running", "waiting"])
def test_a_process_that_is_killed_is_told_by_its_name(when):
    class Dies(Sleeper):
        def figures(self, alone):
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(name, progress):
        if name == "b" and when == "running":
            os.kill(os.getpid(), signal.SIGKILL)
        return Dies(name, 1.0) if name == "b" else begin(name, progress)

    with pytest.raises(Interrupted, match="the run by b"):
        side_by_side(dying, ("a", "b"), alone_for, Told())
    assert no_children()


KILLED = """
import itertools, os, signal, sys
from scenarios import test_sidebyside as here
from stuntdouble.scenarios.sidebyside import side_by_side

first = os.getpid()

def die(_asked=None):
    os.kill(first, signal.SIGKILL)

def begin(name, progress):
    for number in itertools.count() if sys.argv[1] == "running" else ():
        if name == "b" and number == 0:
            die()
        progress.emulated(0.5, phase="", seconds=number, ios=0, restore_points=0)
    return here.Sleeper(name, 1.0)

print("begun", flush=True)
side_by_side(begin, ("a", "b", "c"), die, here.Told())
"""


@pytest.mark.parametrize("when", ["running", "waiting"])
def test_the_runs_end_with_the_process_that_started_them(when):
    """Its output ends when the last of them does: what they had locked is free by then."""
    tests = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, when],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])},
        stdout=subprocess.PIPE,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "begun\n")


def test_an_interrupt_leaves_no_process_behind():
    def interrupted(_asked):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side(begin, ("a", "b"), interrupted, Told())
    assert no_children()


def test_a_comparison_is_the_same_to_the_byte(tmp_path):
    scenario = parse(tiny(), "test")
    results = [
        compare(
            scenario,
            seed=3,
            trace=None,
            methods=(),
            command="test",
            directory=tmp_path / str(processes),
            progress=Progress(quiet=True),
            processes=processes,
        )
        for processes in (1, 2)
    ]
    assert dump(results[0]) == dump(results[1])
    assert no_children()
    packs = [
        sorted(path.name for path in (tmp_path / str(processes)).rglob("*.p*"))
        for processes in (1, 2)
    ]
    assert packs[0] == packs[1] != []
