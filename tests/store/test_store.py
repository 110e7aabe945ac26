"""The store: hashes, transactions, addresses."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from stuntdouble.errors import Misuse, TaskInProgress, Unreachable
from stuntdouble.store import open_store
from stuntdouble.store.client import ATTEMPTS_MAX
from stuntdouble.store.embedded import Memory


def test_hashes_hold_text_in_the_order_of_their_fields():
    store = open_store()
    for field in ("b", "c", "a"):
        store.put("jobs", field, field + " ä")
    assert store.get("jobs", "a") == "a ä"
    assert store.get("jobs", "z") is None
    assert list(store.all("jobs")) == ["a", "b", "c"]
    assert store.drop("jobs", "a")
    assert not store.drop("jobs", "a")
    assert list(store.all("jobs")) == ["b", "c"]
    assert store.all("nothing") == {}


def test_spaces_do_not_see_each_other():
    store = open_store()
    one, two = store.space("one"), store.space("two")
    one.put("jobs", "a", "1")
    assert two.all("jobs") == store.all("jobs") == {}
    assert one.key("jobs") == "stuntdouble:one:jobs"


def test_embedded_stores_are_apart_and_a_memory_can_be_opened_again():
    open_store().put("jobs", "a", "1")
    assert open_store().all("jobs") == {}
    memory = Memory()
    first = memory.open()
    first.put("jobs", "a", "1")
    first.close()
    first.close()
    assert memory.open().all("jobs") == {"a": "1"}


def test_a_transaction_applies_all_or_nothing():
    store = open_store()
    store.put("jobs", "old", "1")

    def change(transaction):
        transaction.put("jobs", "new", "2")
        transaction.drop("jobs", "old")
        assert transaction.all("jobs") == {"old": "1"}
        assert transaction.get("jobs", "new") is None
        return "done"

    assert store.transact(change, "jobs") == "done"
    assert store.all("jobs") == {"new": "2"}

    def fail(transaction):
        transaction.put("jobs", "half", "3")
        raise KeyError

    with pytest.raises(KeyError):
        store.transact(fail, "jobs")
    with pytest.raises(AssertionError, match="not part"):
        store.transact(lambda transaction: transaction.get("other", "x"), "jobs")
    assert store.all("jobs") == {"new": "2"}


def test_a_transaction_runs_again_when_another_client_was_quicker():
    memory = Memory()
    store, other = memory.open(), memory.open()
    tries = []

    def add_one(transaction):
        count = int(transaction.get("counts", "n") or 0)
        if len(tries) < 3:
            other.put("counts", "n", str(10 * (len(tries) + 1)))
        tries.append(count)
        transaction.put("counts", "n", str(count + 1))

    store.transact(add_one, "counts")
    assert tries == [0, 10, 20, 30]
    assert store.get("counts", "n") == "31"


def test_a_transaction_that_never_wins_says_so():
    memory = Memory()
    store, other = memory.open(), memory.open()
    tries = []

    def disturbed(transaction):
        transaction.get("counts", "n")
        tries.append(1)
        other.put("counts", "n", str(len(tries)))

    with pytest.raises(TaskInProgress, match="counts"):
        store.transact(disturbed, "counts")
    assert len(tries) == ATTEMPTS_MAX


@pytest.mark.parametrize("url", ["http://host", "localhost:6379", "redis://host:notaport/0"])
def test_an_address_that_is_none_is_misuse(url):
    with pytest.raises(Misuse) as caught:
        open_store(url)
    assert "\n" not in str(caught.value)


def test_a_server_that_does_not_answer_is_named_without_its_password():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port}/2 does not answer") as caught:
            open_store(f"redis://user:secret@127.0.0.1:{port}/2")
    assert "secret" not in str(caught.value)


def test_a_server_that_goes_away_is_unreachable(monkeypatch):
    from redis.exceptions import ConnectionError as Gone

    store = open_store()

    def gone(*_):
        raise Gone

    monkeypatch.setattr(store.client, "hget", gone)
    with pytest.raises(Unreachable, match="the embedded store does not answer"):
        store.get("jobs", "a")


def test_importing_the_store_loads_no_client():
    code = (
        "import sys, stuntdouble.store\n"
        "print([name for name in ('redis', 'fakeredis', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
