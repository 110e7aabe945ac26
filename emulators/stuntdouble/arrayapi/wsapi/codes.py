"""What the interface says when it says no: a symbol, its HTTP status, its number and its words.

Symbols, statuses and numbers are those of the vendor's developer's guides (1.2: tables 5 and 6;
1.3.1: tables 5, 6, 35, 45, 57, 68, 70, 94, 105, 108, 109), and, where these leave them out, of the
vendor's own Python client and its tests.  Clients are to rely on the number alone.  Numbers from
10001 on are ours: the symbol is documented, its number is not known here.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from stuntdouble.arrayapi.messages import Manners, Reply


class Code(NamedTuple):
    """How a refusal is said."""

    status: int
    number: int
    text: str


CODES: Final[dict[str, Code]] = {
    # The protocol.
    "INT_SERV_ERR": Code(500, 1, "internal server error"),
    "INPUT_TOO_LONG": Code(413, 4, "request is too long"),
    "INV_USER_PASS": Code(403, 5, "invalid username or password"),
    "INV_SESS_KEY": Code(403, 6, "invalid session key"),
    "TIMEOUT": Code(408, 7, "timeout"),
    "UNSUP_OP": Code(501, 9, "unsupported operation"),
    "URI_RES_NOT_FOUND": Code(404, 11, "the requested resource does not exist"),
    "PERM_DENIED": Code(403, 13, "permission denied"),
    "SVC_UNAVAIL": Code(503, 31, "service unavailable"),
    "UNSUP_REPRESENTATION": Code(406, 35, "unsupported representation in Accept"),
    "UNSUP_CONTENT": Code(415, 51, "unsupported content type"),
    "INV_INPUT_NOT_JSON_OBJ": Code(400, 52, "invalid input: a JSON object is expected"),
    "INV_URL_PERCENT_ENCODING": Code(400, 56, "invalid percent encoding in the URL"),
    "JSON_SYNTAX_ERR": Code(400, 60, "JSON syntax error"),
    # Input.
    "INV_INPUT": Code(400, 12, "invalid input"),
    "TOO_LARGE": Code(400, 28, "client request contains values that are too large"),
    "INV_INPUT_WRONG_TYPE": Code(400, 39, "invalid input: wrong type for value"),
    "INV_INPUT_MISSING_REQUIRED": Code(400, 40, "invalid input: missing required name"),
    "INV_INPUT_EXCEEDS_RANGE": Code(400, 43, "invalid input: number exceeds expected range"),
    "INV_INPUT_PARAM_CONFLICT": Code(
        400, 44, "invalid input: parameters cannot be present at the same time"
    ),
    "INV_INPUT_EMPTY_STR": Code(400, 45, "invalid input: string is empty"),
    "INV_INPUT_BAD_ENUM_VALUE": Code(400, 46, "invalid input: bad enum value"),
    "INV_INPUT_PORT_SPECIFICATION": Code(400, 55, "invalid input: port specification"),
    "INV_INPUT_EXCEEDS_LENGTH": Code(400, 57, "invalid input: string length exceeds limit"),
    "INV_INPUT_ILLEGAL_CHAR": Code(400, 69, "illegal character in input"),
    "INV_INPUT_ONE_REQUIRED": Code(400, 78, "invalid input: one of the parameters is required"),
    "INV_INPUT_DUP_PATH": Code(400, 98, "invalid input: duplicate path"),
    "INV_INPUT_BELOW_RANGE": Code(400, 115, "invalid input: number is below expected range"),
    "INV_INPUT_VV_GROW_SIZE": Code(400, 152, "invalid grow size"),
    "INV_INPUT_RETAIN_GT_EXPIRE": Code(400, 10001, "retention time is greater than expiration"),
    "INV_INPUT_TIME": Code(400, 10002, "invalid time specified"),
    "INVALID_INPUT_VV_PATTERN": Code(400, 10003, "invalid volume name pattern"),
    "INV_INPUT_DUP_NAME": Code(400, 10004, "invalid input: duplicate name"),
    "MISSING_VLUN_EXPORT_INFO": Code(400, 10005, "hostname and portPos are both missing"),
    "INV_INPUT_BAD_LENGTH": Code(400, 10006, "invalid input: bad length"),
    "INV_INPUT_TOO_MANY_WWN_OR_iSCSI": Code(400, 10007, "too many WWNs or iSCSI names"),
    "INV_INPUT_VV_POLICY": Code(400, 10032, "invalid policy specification"),
    # Pools and volumes.
    "NON_EXISTENT_CPG": Code(404, 15, "CPG does not exist"),
    "NON_EXISTENT_DOMAIN": Code(404, 38, "domain does not exist"),
    "EXISTENT_VOL": Code(409, 22, "volume exists"),
    "NON_EXISTENT_VOL": Code(404, 23, "volume does not exist"),
    "NO_SPACE": Code(400, 24, "insufficient space for requested operation"),
    "HAS_RO_CHILD": Code(409, 25, "volume has read-only child"),
    "EXPORTED_VV": Code(403, 26, "volume is exported"),
    "HAS_CHILD": Code(409, 32, "volume has a child"),
    "IN_USE": Code(409, 34, "resource is in use"),
    "EXISTENT_ID": Code(409, 59, "ID exists"),
    "INV_OPERATION_VV_CPG_ON_SNAPSHOT": Code(409, 96, "CPG cannot be assigned to a snapshot"),
    "INV_OPERATION_VV_IS_BUSY": Code(409, 151, "volume is currently busy"),
    "VV_NEW_SIZE_EXCEED_CPG_LIMIT": Code(403, 153, "new volume size exceeds CPG limit"),
    "NON_EXISTENT_OBJECT_KEY": Code(404, 180, "object key does not exist"),
    "EXISTENT_OBJECT_KEY": Code(409, 181, "object key exists"),
    "RETAINED": Code(409, 10008, "volume retention time has not expired"),
    "INV_OPERATION_UNSUPPORTED_VV_TYPE": Code(403, 10009, "cannot do so to this type of volume"),
    "UNLICENSED_FEATURE": Code(403, 10010, "the system is not licensed for this feature"),
    # Copies.
    "INV_OPERATION_VV_PROMOTE_IS_NOT_IN_PROGRESS": Code(
        409, 185, "volume promotion is not in progress"
    ),
    "SNAPSHOT_LIMIT_REACHED": Code(503, 10011, "maximum number of snapshots has been reached"),
    "INV_OPERATION_VV_READONLY_TO_READONLY_SNAP": Code(
        403, 10012, "a read-only copy of a read-only volume is not permitted"
    ),
    "INV_OPERATION_VV_SNAP_PARENT_SAME_BASE": Code(
        403, 10013, "two parents share the same base volume"
    ),
    "VV_IN_STALE_STATE": Code(403, 10014, "volume is in a stale state"),
    "INV_OPERATION_VV_BASE_VOLUME": Code(409, 10015, "volume is a base volume"),
    "INV_OPERATION_PARENT_VV_EXPORTED": Code(403, 10016, "parent volume is exported"),
    "INV_OPERATION_VV_EXPORTED": Code(403, 10017, "volume is exported"),
    "INV_OPERATION_PROMOTE_TARGET_NOT_BASE_VV": Code(
        403, 10018, "promote target is not a base volume"
    ),
    "INV_OPERATION_PARENT_SIZE_HAS_INCREASED": Code(409, 10019, "parent volume has grown"),
    "INV_OPERATION_VV_NON_BASE_VOLUME": Code(403, 10020, "destination is not a base volume"),
    "INV_OPERATION_VV_COPY_TO_SELF": Code(403, 10021, "destination is the same as the parent"),
    "INV_OPERATION_VV_COPY_PARENT_TOO_BIG": Code(409, 10022, "parent is larger than destination"),
    "INV_OPERATION_VV_PCOPY_IN_PROGRESS": Code(409, 10023, "a physical copy is in progress"),
    "NON_EXISTENT_VVCOPY": Code(404, 10024, "physical copy not found"),
    "INV_OPERATION_VV_NO_PARENT": Code(403, 10025, "volume has no physical parent"),
    "INV_OPERATION_PARENT_PCOPY_IN_PROGRESS": Code(403, 10033, "parent is in a physical copy"),
    "INV_OPERATION_CANNOT_STOP_ONLINE_PROMOTE": Code(403, 10035, "promotion cannot be stopped"),
    # Sets and tasks.
    "EXISTENT_SET": Code(409, 101, "set exists"),
    "NON_EXISTENT_SET": Code(404, 102, "set does not exist"),
    "EMPTY_SET": Code(404, 10026, "set is empty"),
    "MEMBER_IN_SET": Code(409, 10027, "object is already part of the set"),
    "MEMBER_NOT_IN_SET": Code(404, 10028, "object is not part of the set"),
    "NON_EXISTENT_TASK": Code(404, 145, "task does not exist"),
    # Hosts and exports.
    "EXISTENT_HOST": Code(409, 16, "host already exists"),
    "NON_EXISTENT_HOST": Code(404, 17, "host does not exist"),
    "EXISTENT_LUN": Code(409, 18, "VLUN already exists"),
    "NON_EXISTENT_VLUN": Code(404, 19, "VLUN does not exist"),
    "NON_EXISTENT_PORT": Code(404, 20, "port does not exist"),
    "EXPORTED_VLUN": Code(409, 26, "VLUN is exported"),
    "HOST_IN_SET": Code(409, 77, "host is a member of a set"),
    "EXISTENT_PATH": Code(409, 73, "iSCSI name is already used by another host"),
    "NON_EXISTENT_PATH": Code(404, 80, "path does not exist"),
    "INV_OPERATION_VLUN_PCOPY_TARGET_VV": Code(409, 97, "volume is a target of physical copy"),
    "AUTO_LUN_ID_UNAVAILABLE": Code(409, 10029, "no LUN is free within the specified range"),
    "NO_INITIATOR_CHAP": Code(409, 10030, "target CHAP needs initiator CHAP"),
    "NON_UNIQUE_CHAP_SECRET": Code(409, 10034, "the CHAP secret is not unique"),
    "NON_EXISTENT_CHAP": Code(404, 10031, "CHAP does not exist"),
}


class Refusal(Exception):  # noqa: N818  (it is what a reply says, not what went wrong here)
    """What the interface answers instead.

    Args:
        symbol: one of ``CODES``.
        why: added to its words.
        ref: the member of the body, or the name, that is meant.
    """

    def __init__(self, symbol: str, why: str = "", ref: str = "") -> None:
        super().__init__(symbol, why, ref)
        self.symbol = symbol
        self.why = why
        self.ref = ref

    def reply(self) -> Reply:
        """Return the answer."""
        code = CODES[self.symbol]
        body: dict[str, Any] = {"code": code.number, "desc": code.text}
        if self.why:
            body["desc"] = f"{code.text}: {self.why}"
        if self.ref:
            body["ref"] = self.ref
        return Reply(code.status, body)


def unsupported(what: str) -> Refusal:
    """Return how something is refused that the real one has and this one has not."""
    return Refusal("UNSUP_OP", f"{what} is not emulated")


_OF_STATUS: Final = {
    400: "INV_INPUT",
    413: "INPUT_TOO_LONG",
    503: "SVC_UNAVAIL",
    504: "TIMEOUT",
}


def _of_the_wire(status: int, text: str) -> Reply:
    return Refusal(_OF_STATUS.get(status, "INT_SERV_ERR"), text).reply()


MANNERS: Final = Manners("WSAPI", _of_the_wire, list_key="members", total_key="total")
"""How this interface says what has nothing to do with its array."""
