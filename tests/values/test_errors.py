"""Errors: what they say, how they travel, and which exit code names their kind."""

import copy
import pickle

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble import errors

TREE = {
    errors.Misuse: errors.Error,
    errors.InvalidArgument: errors.Misuse,
    errors.Refused: errors.Error,
    errors.NotFound: errors.Refused,
    errors.UnknownDisk: errors.NotFound,
    errors.InvalidState: errors.Refused,
    errors.DiskNotTrackable: errors.InvalidState,
    errors.TrackingInactive: errors.InvalidState,
    errors.EpochUnknown: errors.InvalidState,
    errors.FileLocked: errors.Refused,
    errors.LunInUse: errors.Refused,
    errors.LimitReached: errors.Refused,
    errors.NoSpace: errors.Refused,
    errors.AccessDenied: errors.Refused,
    errors.TaskInProgress: errors.Refused,
    errors.MethodDisabled: errors.Refused,
    errors.ChangeHistoryLost: errors.Refused,
    errors.QuiesceFailed: errors.Refused,
    errors.Lost: errors.Error,
    errors.Unreachable: errors.Lost,
    errors.TimedOut: errors.Lost,
    errors.Interrupted: errors.Lost,
    errors.Corrupt: errors.Error,
    errors.MediumError: errors.Corrupt,
    errors.DigestMismatch: errors.Corrupt,
    errors.NoProgress: errors.Error,
    errors.Unsupported: errors.Error,
    errors.Error: Exception,
    errors.Bug: AssertionError,
}
FACTS = {
    errors.Misuse: ("scenario.toml:12", "use a whole number of seconds"),
    errors.NotFound: ("VM", "mail"),
    errors.InvalidState: ("mail", "powered off", "be stunned"),
    errors.InvalidArgument: ("startOffset", "4096 is past the end"),
    errors.UnknownDisk: ("mail", 2001),
    errors.DiskNotTrackable: ("disk 2001 of mail", "an independent disk"),
    errors.FileLocked: ("mail-000001-delta.vmdk", "a backup proxy"),
    errors.LunInUse: (7, "iqn.2026-01.example:host"),
    errors.LimitReached: ("snapshots of mail", 32),
    errors.NoSpace: ("datastore-1", 16777216, 4096),
    errors.AccessDenied: ("iqn.2026-01.example:host", "naa.6001"),
    errors.TaskInProgress: ("mail", "consolidation"),
    errors.MethodDisabled: ("mail", "RelocateVM_Task", "a backup"),
    errors.ChangeHistoryLost: ("mail disk 0", "52 de/4"),
    errors.QuiesceFailed: ("mail", 900),
    errors.TimedOut: ("the read of naa.6001", 30.0),
    errors.MediumError: ("naa.6001", 81920),
    errors.DigestMismatch: ("mail disk 0", "aa11", "bb22"),
    errors.Unsupported: ("NFS", "datastores lie on volumes"),
}
EVERY = [kind(*FACTS.get(kind, ("mail",))) for kind in TREE]
each = pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)


def test_every_class_is_in_the_tree_and_documented():
    classes = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    assert classes == set(TREE)
    for kind, parent in TREE.items():
        assert kind.__base__ is parent
        assert kind.__doc__


def test_the_module_opens_with_its_tree():
    for kind in TREE:
        assert kind.__name__ in errors.__doc__


def same(one, other):
    """Compare by type and facts; a Bug, like any AssertionError, is equal only to itself."""
    return type(one) is type(other) and one.args == other.args and str(one) == str(other)


@each
def test_type_and_facts_make_the_error_again(error):
    again = type(error)(*error.args)
    assert same(again, error)
    if isinstance(error, errors.Error):
        assert again == error
        assert hash(again) == hash(error)


@each
def test_survives_copy_and_pickle(error):
    for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert same(twin, error)


@each
def test_crosses_a_simpy_process(error):
    env = simpy.Environment()
    caught = []

    def fails():
        yield env.timeout(1)
        raise error

    def waits():
        try:
            yield env.process(fails())
        except type(error) as failure:
            caught.append(failure)

    env.process(waits())
    env.run()
    assert [same(failure, error) for failure in caught] == [True]
    assert caught[0].__cause__ is error  # SimPy made a new one of type and args


@each
def test_the_message_is_one_line_that_contains_the_facts(error):
    message = str(error)
    for fact in error.args:
        assert str(fact) in message
    if not isinstance(error, errors.NoProgress):  # a line per waiter
        assert "\n" not in message


@given(st.lists(st.text(), min_size=2, max_size=3), st.sampled_from(list(FACTS)))
def test_facts_are_never_read_as_a_template(facts, kind):
    wanted = [*facts, "spare", "spare"][: len(FACTS[kind])]
    error = kind(*wanted)
    assert all(fact in str(error) or repr(fact) in str(error) for fact in wanted)


def test_messages():
    said = {type(error).__name__: str(error) for error in EVERY}
    assert said["LunInUse"] == "LUN 7 is already mapped to iqn.2026-01.example:host"
    assert said["NoSpace"] == "datastore-1 is full: 16777216 bytes needed, 4096 free"
    assert said["NotFound"] == "no VM named 'mail'"
    assert said["DigestMismatch"] == "mail disk 0: digest is bb22, not aa11"
    assert said["ChangeHistoryLost"].endswith("take a full backup")
    assert str(errors.NoProgress("a waits\nb waits")).splitlines()[1:] == ["a waits", "b waits"]


def test_errors_differ_by_class_and_by_facts():
    assert errors.Lost("a") != errors.Unreachable("a")
    assert errors.Unreachable("a") != errors.Lost("a")
    assert errors.Unreachable("a") != errors.Unreachable("b")
    assert errors.Unreachable("a") != "a"
    assert len({errors.Lost("a"), errors.Lost("a"), errors.Interrupted("a")}) == 2


@each
def test_the_exit_code_names_the_kind(error):
    expected = 1
    if isinstance(error, errors.Misuse | errors.Unsupported):
        expected = 2
    if isinstance(error, errors.Corrupt):
        expected = 3
    if isinstance(error, errors.NoProgress):
        expected = 4
    if isinstance(error, errors.Bug):
        expected = 70
    assert error.exit_code == expected


@each
def test_facts_are_positional_only(error):
    with pytest.raises(TypeError):
        type(error)(reason="x")


def test_a_bug_is_not_an_error_that_callers_catch():
    assert not issubclass(errors.Bug, errors.Error)
