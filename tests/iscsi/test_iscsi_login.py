"""Logins: stages, names, parameters, CHAP both ways; and everybody who must not get in."""

from __future__ import annotations

import pytest

from iscsi.initiating import IQN, LUN1, OTHER, STRANGER, TARGET, TEST_UNIT_READY, World
from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import Credentials, LoginStatus, Stage
from stuntdouble.errors import Misuse
from stuntdouble.iscsi import Limits

SECRETS = {IQN: Credentials("me", "a secret of mine", "array", "a secret of its")}


@pytest.fixture
def world():
    return World()


def test_a_login_straight_to_the_full_feature_phase(world):
    initiator = world.initiator()
    told = initiator.log_in(MaxRecvDataSegmentLength="65536", HeaderDigest="CRC32C,None")
    assert told["TargetPortalGroupTag"] == "1"
    assert told["HeaderDigest"] == "CRC32C"
    assert told["MaxRecvDataSegmentLength"] == "262144"
    assert initiator.tsih
    assert [session.initiator for session in world.target.of()] == [IQN]


def test_what_is_offered_is_answered_by_the_rules(world):
    offered = {
        "MaxConnections": "8", "InitialR2T": "No", "ImmediateData": "Yes",
        "MaxBurstLength": "16776192", "FirstBurstLength": "65536", "DefaultTime2Wait": "5",
        "DefaultTime2Retain": "20", "MaxOutstandingR2T": "8", "ErrorRecoveryLevel": "2",
        "DataPDUInOrder": "No", "DataSequenceInOrder": "No", "OFMarker": "No", "X-ours.key": "1",
    }  # fmt: skip
    told = world.initiator().log_in(**offered)
    expected = {
        "MaxConnections": "1", "InitialR2T": "No", "ImmediateData": "Yes",
        "MaxBurstLength": "1048576", "FirstBurstLength": "65536", "DefaultTime2Wait": "5",
        "DefaultTime2Retain": "0", "MaxOutstandingR2T": "1", "ErrorRecoveryLevel": "0",
        "DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes", "OFMarker": "No",
        "X-ours.key": "NotUnderstood", "MaxRecvDataSegmentLength": "262144",
        "TargetPortalGroupTag": "1",
    }  # fmt: skip
    assert told == expected


def test_a_login_through_both_stages(world):
    initiator = world.initiator()
    answer, told = initiator.login(
        [*initiator.names(), ("AuthMethod", "CHAP,None")], Stage.SECURITY, Stage.OPERATIONAL
    )
    assert (answer.status, told["AuthMethod"]) == (0, "None")
    assert (answer.csg, answer.nsg, answer.transit) == (0, 1, True)
    answer, told = initiator.login([("MaxBurstLength", "4096")])
    assert (answer.status, told["MaxBurstLength"]) == (0, "4096")
    assert answer.tsih


def test_text_in_several_pieces(world):
    initiator = world.initiator()
    wire = iscsi.pack_text([*initiator.names(), ("MaxBurstLength", "4096")])
    request = iscsi.LoginRequest(initiator.isid, 0, 7, 0, 100, 0, 1, 0, False, more=True)
    initiator.say(request.pack(50), wire[:50])
    answer, data = initiator.reply()
    assert (answer.status, data, answer.transit) == (0, b"", False)
    request = iscsi.LoginRequest(initiator.isid, 0, 7, 0, 100, 0, 1, 3, True)
    initiator.say(request.pack(len(wire) - 50), wire[50:])
    answer, data = initiator.reply()
    assert answer.transit
    assert b"MaxBurstLength=4096" in data


def refused(initiator, pairs, csg=Stage.OPERATIONAL, nsg=Stage.FULL_FEATURE, **fields):
    answer, told = initiator.login(pairs, csg, nsg, **fields)
    assert told == {}
    assert not answer.transit
    assert initiator.connection.closed
    assert list(initiator.world.target.of()) == []
    return answer.status


NAMES = [("InitiatorName", IQN), ("TargetName", TARGET)]


@pytest.mark.parametrize(
    ("pairs", "status"),
    [
        ([("TargetName", TARGET)], LoginStatus.MISSING_PARAMETER),
        ([("InitiatorName", IQN)], LoginStatus.MISSING_PARAMETER),
        ([("InitiatorName", "me"), ("TargetName", TARGET)], LoginStatus.INITIATOR_ERROR),
        ([("InitiatorName", "iqn." + "x" * 220)], LoginStatus.INITIATOR_ERROR),
        ([("InitiatorName", IQN), ("TargetName", "iqn.none")], LoginStatus.NOT_FOUND),
        (
            [("InitiatorName", STRANGER), ("TargetName", TARGET)],
            LoginStatus.AUTHORIZATION_FAILURE,
        ),
        ([*NAMES, ("SessionType", "Party")], LoginStatus.TYPE_NOT_SUPPORTED),
        ([*NAMES, ("MaxBurstLength", "1024")] * 2, LoginStatus.INITIATOR_ERROR),
        ([*NAMES, ("AuthMethod", "None")], LoginStatus.INITIATOR_ERROR),
        ([*NAMES, *[(f"Xlongenough{n:09}", "1") for n in range(240)]], LoginStatus.INITIATOR_ERROR),
    ],
)
def test_pairs_that_end_a_login(world, pairs, status):
    assert refused(world.initiator(), pairs) == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"version_min": 1}, LoginStatus.UNSUPPORTED_VERSION),
        ({"tsih": 77}, LoginStatus.NO_SESSION),
        ({"csg": 2}, LoginStatus.INITIATOR_ERROR),
        ({"csg": 3}, LoginStatus.INITIATOR_ERROR),
        ({"nsg": 2}, LoginStatus.INITIATOR_ERROR),
        ({"nsg": 1}, LoginStatus.INITIATOR_ERROR),
        ({"more": True}, LoginStatus.INITIATOR_ERROR),
    ],
)
def test_requests_that_end_a_login(world, fields, status):
    assert refused(world.initiator(), NAMES, **fields) == status


def test_a_login_that_becomes_another_one(world):
    initiator = world.initiator()
    initiator.login(NAMES, transit=False)
    assert refused(initiator, [], cid=5) == LoginStatus.INVALID_REQUEST


def test_a_second_connection_of_a_session(world):
    first = world.logged_in()
    second = world.initiator()
    answer, _ = second.login(NAMES, tsih=first.tsih)
    assert answer.status == LoginStatus.TOO_MANY_CONNECTIONS
    assert not first.connection.closed


def test_operational_keys_do_not_belong_to_the_security_stage(world):
    pairs = [*NAMES, ("MaxBurstLength", "1024")]
    status = refused(world.initiator(), pairs, Stage.SECURITY, Stage.OPERATIONAL)
    assert status == LoginStatus.INITIATOR_ERROR


def test_a_login_that_never_ends_ends(world):
    initiator = world.initiator()
    initiator.login(NAMES, transit=False)
    steps = 0
    while not initiator.connection.closed:
        initiator.login([], transit=False)
        steps += 1
    assert steps == 32


def test_too_much_text_ends_a_login():
    initiator = World(limits=Limits(text_bytes=1000)).initiator()
    request = iscsi.LoginRequest(initiator.isid, 0, 7, 0, 100, 0, 1, 0, False, more=True)
    initiator.say(request.pack(1001), bytes(1001))
    assert initiator.reply()[0].status == LoginStatus.INITIATOR_ERROR


@pytest.mark.parametrize(
    "header", [iscsi.NopOut(1).pack(), iscsi.ScsiCommand(LUN1, 1, 0, 100, 0, bytes(16)).pack()]
)
def test_nothing_but_a_login_comes_first(world, header):
    initiator = world.initiator()
    initiator.say(header)
    assert initiator.replies() == []
    assert initiator.connection.closed


# CHAP. ----------------------------------------------------------------------------------------


def challenge(initiator, algorithms="8,7,5"):
    """The first two steps; return what the target answers."""
    answer, told = initiator.login(
        [*initiator.names(), ("AuthMethod", "CHAP,None")], Stage.SECURITY, Stage.OPERATIONAL
    )
    assert (answer.status, answer.transit, told["AuthMethod"]) == (0, False, "CHAP")
    answer, told = initiator.login([("CHAP_A", algorithms)], Stage.SECURITY, transit=False)
    assert (answer.status, answer.transit) == (0, False)
    return told


def proof(told, user="me", secret="a secret of mine"):
    asked = iscsi.parse_binary(told["CHAP_C"])
    response = iscsi.chap_response(int(told["CHAP_A"]), int(told["CHAP_I"]), secret, asked)
    return [("CHAP_N", user), ("CHAP_R", iscsi.pack_binary(response))]


@pytest.mark.parametrize(("offered", "chosen"), [("8,7,5", 8), ("5", 5), ("99,7", 7), ("6", 6)])
def test_one_who_knows_the_secret_gets_in(offered, chosen):
    initiator = World(secrets=SECRETS).initiator()
    told = challenge(initiator, offered)
    assert int(told["CHAP_A"]) == chosen
    answer, told = initiator.login(proof(told), Stage.SECURITY, Stage.FULL_FEATURE)
    assert (answer.status, answer.transit, told) == (0, True, {})
    initiator.command(TEST_UNIT_READY)
    assert isinstance(initiator.reply()[0], iscsi.ScsiResponse)


def test_the_target_proves_itself_in_turn():
    initiator = World(secrets=SECRETS).initiator()
    told = challenge(initiator)
    mine = [("CHAP_I", "9"), ("CHAP_C", "0x0102030405060708")]
    answer, told = initiator.login(proof(told) + mine, Stage.SECURITY, Stage.OPERATIONAL)
    assert (answer.status, told["CHAP_N"]) == (0, "array")
    response = iscsi.parse_binary(told["CHAP_R"])
    assert iscsi.chap_proves(8, 9, "a secret of its", bytes(range(1, 9)), response)


def test_no_two_challenges_are_alike():
    world = World(secrets=SECRETS)
    told = [challenge(world.initiator())["CHAP_C"] for _ in range(4)]
    assert len(set(told)) == 4


@pytest.mark.parametrize(
    "steps",
    [
        lambda told: proof(told, secret="another secret"),
        lambda told: proof(told, user="you"),
        lambda told: [("CHAP_N", "me"), ("CHAP_R", "0x00")],
        lambda told: [("CHAP_N", "me"), ("CHAP_R", "no number")],
        lambda told: [("CHAP_N", "me")],
        lambda told: [("CHAP_A", "5")],
        lambda told: [*proof(told), ("CHAP_I", "1"), ("CHAP_C", told["CHAP_C"])],
        lambda told: [*proof(told), ("CHAP_I", "1")],
        lambda told: proof(told) * 2,
    ],
)
def test_who_does_not_prove_itself_never_gets_in(steps):
    initiator = World(secrets=SECRETS).initiator()
    told = challenge(initiator)
    status = refused(initiator, steps(told), Stage.SECURITY, Stage.FULL_FEATURE)
    assert status in {LoginStatus.AUTHENTICATION_FAILURE, LoginStatus.INITIATOR_ERROR}


@pytest.mark.parametrize("secret", ["", "A secret of mine", "a secret of its", "a secret of min"])
def test_wrong_secrets_never_get_in(secret):
    initiator = World(secrets=SECRETS).initiator()
    told = proof(challenge(initiator), secret=secret)
    status = refused(initiator, told, Stage.SECURITY, Stage.FULL_FEATURE)
    assert status == LoginStatus.AUTHENTICATION_FAILURE


@pytest.mark.parametrize(
    ("csg", "nsg", "more"),
    [
        (Stage.OPERATIONAL, Stage.FULL_FEATURE, []),
        (Stage.SECURITY, Stage.OPERATIONAL, []),
        (Stage.SECURITY, Stage.FULL_FEATURE, [("AuthMethod", "None")]),
        (Stage.SECURITY, Stage.FULL_FEATURE, [("AuthMethod", "KRB5")]),
    ],
)
def test_nobody_walks_past_the_proof(csg, nsg, more):
    initiator = World(secrets=SECRETS).initiator()
    status = refused(initiator, NAMES + more, csg, nsg)
    assert status == LoginStatus.AUTHENTICATION_FAILURE


def test_nobody_walks_past_the_proof_once_it_is_agreed_on():
    initiator = World(secrets=SECRETS).initiator()
    pairs = [*NAMES, ("AuthMethod", "CHAP")]
    for _ in range(3):
        answer, _ = initiator.login(pairs, Stage.SECURITY, Stage.FULL_FEATURE)
        assert not answer.transit
        pairs = []
    assert list(initiator.world.target.of()) == []


def test_who_answers_the_own_challenge_of_an_initiator_of_one_way_is_refused():
    world = World(secrets={IQN: Credentials("me", "a secret of mine")})
    initiator = world.initiator()
    told = challenge(initiator)
    pairs = [*proof(told), ("CHAP_I", "1"), ("CHAP_C", "0x01")]
    status = refused(initiator, pairs, Stage.SECURITY, Stage.FULL_FEATURE)
    assert status == LoginStatus.AUTHENTICATION_FAILURE


def test_secrets_are_those_of_each_host():
    world = World(secrets=SECRETS)
    world.initiator(OTHER).log_in()
    assert [session.initiator for session in world.target.of()] == [OTHER]


# Sessions. ------------------------------------------------------------------------------------


def test_a_session_that_comes_again_replaces_the_former(world):
    former = world.logged_in()
    nexus = former.connection.session.nexus
    latter = world.logged_in()
    assert former.connection.closed
    assert former.woken
    assert latter.connection.session.nexus != nexus
    assert len(list(world.target.of())) == 1
    third = world.logged_in(isid=b"\x80\0\0\0\0\2")
    assert not latter.connection.closed
    assert third.tsih != latter.tsih
    assert len(list(world.target.of())) == 2
    former.connection.lost()
    assert len(list(world.target.of())) == 2


def test_credentials_without_a_secret_are_misuse():
    with pytest.raises(Misuse):
        Credentials("me", "")
