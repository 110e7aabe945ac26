"""``compare --hypervisor``: which way to the hypervisor, and options that do not go with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.cli.hypervisors import Choice, without_credentials
from stuntdouble.errors import Misuse
from stuntdouble.scenarios.remote import target_of

DIGEST = "8b23669b1dabd78de5cd906b473460adc9836f7c16f3039a00acde7cbf16ce2a"
COLONS = ":".join(DIGEST[i : i + 2] for i in range(0, 64, 2)).upper()


def target(url, user="admin", password="secret", fingerprint=None, *, insecure=False):
    return target_of(url, user=user, password=password, fingerprint=fingerprint, insecure=insecure)


@pytest.mark.parametrize(
    ("words", "door", "command"),
    [
        ((), "direct", "stuntdouble compare quickstart --seed 1"),
        (("--hypervisor", "direct"), "direct", "stuntdouble compare quickstart --seed 1"),
        (
            ("--hypervisor", "vsphere"),
            "vsphere",
            "stuntdouble compare quickstart --seed 1 --hypervisor vsphere",
        ),
    ],
)
def test_the_way_to_the_hypervisor_is_part_of_the_command(run, staged, words, door, command):
    assert run("compare", "quickstart", *words).exit_code == 0
    _, facts = staged.calls[0]
    assert (facts["door"], facts["command"]) == (door, command)


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("--hypervisor", "kvm"), "--hypervisor"),
        (("--hypervisor", ""), "--hypervisor"),
        (("--user", "me"), "--user"),
        (("--fingerprint", DIGEST), "--fingerprint"),
        (("--insecure",), "--insecure"),
        (("--hypervisor", "vsphere", "--insecure"), "--insecure"),
        (("--hypervisor", "https://x", "--engine", "reference"), "--engine"),
        (("--hypervisor", "https://x", "--trace", __file__), "--trace"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything(run, staged, words, where):
    done = run("compare", "quickstart", *words)
    assert isinstance(done.exception, Misuse) or done.exit_code == 2
    assert where in f"{done.exception} {done.output}"
    assert staged.calls == []


def test_a_password_in_the_environment_is_no_option_of_a_comparison_in_process():
    Choice("direct", password="secret").check(trace=None, engine="kernel")


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "user", "password"),
    [
        ("https://h:8443/sdk", "h", 8443, "/sdk", "admin", "secret"),
        ("https://h", "h", 443, "/sdk", "admin", "secret"),
        ("http://h/", "h", 80, "/sdk", "admin", "secret"),
        ("https://me@h:1/x", "h", 1, "/x", "me", "secret"),
        ("https://a%40b:p%3Aq%2F@[::1]:1", "::1", 1, "/sdk", "a@b", "p:q/"),
        ("https://me:@h", "h", 443, "/sdk", "me", ""),
    ],
)
def test_a_url_says_where_and_who(url, host, port, path, user, password):
    found = target(url)
    assert (found.host, found.port, found.path) == (host, port, path)
    assert (found.user, found.password) == (user, password)
    assert "secret" not in repr(found)
    assert found.user not in found.url.partition("//")[2].partition("/")[0]


@pytest.mark.parametrize(
    ("url", "options", "where"),
    [
        ("ftp://h/sdk", {}, "--hypervisor"),
        ("https:///sdk", {}, "--hypervisor"),
        ("https://h/sdk?x=1", {}, "--hypervisor"),
        ("https://h:99999", {}, "--hypervisor"),
        ("https://h:x", {}, "--hypervisor"),
        ("https://[::1", {}, "--hypervisor"),
        ("https://h", {"password": None}, "--password"),
        ("https://h", {"fingerprint": "12:34"}, "--fingerprint"),
        ("https://h", {"fingerprint": "g" * 64}, "--fingerprint"),
        ("https://h", {"fingerprint": DIGEST, "insecure": True}, "--fingerprint"),
        ("http://h", {"fingerprint": DIGEST}, "--fingerprint"),
        ("http://h", {"insecure": True}, "--insecure"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url, options, where):
    with pytest.raises(Misuse, match=f"^{where}: "):
        target(url, **options)


@pytest.mark.parametrize("text", [DIGEST, DIGEST.upper(), COLONS])
def test_a_fingerprint_may_be_written_in_any_way(text):
    assert target("https://h", fingerprint=text).fingerprint == DIGEST


_SECRETS = st.text(st.sampled_from("ab:%@/?#0 "), min_size=1, max_size=12)


@given(_SECRETS)
def test_credentials_are_not_kept(secret):
    from urllib.parse import quote

    url = f"https://user:{quote(secret, safe='')}@host:8443/sdk"
    assert without_credentials(url) == "https://host:8443/sdk"
    assert target(url).password == secret
    assert without_credentials("vsphere") == "vsphere"
