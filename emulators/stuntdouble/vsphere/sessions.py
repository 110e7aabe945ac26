"""Sessions: who is logged in, what they may do, and what they have open.

A session is known by its key, which travels in the cookie ``vmware_soap_session``.  Collectors,
filters, views and result tokens belong to it and go with it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from stuntdouble.vsphere.faults import invalid_argument, not_supported
from stuntdouble.vsphere.incidents import BAD_LOGIN, LOGIN, LOGOUT
from stuntdouble.vsphere.objects import Managed, operation, prop
from stuntdouble.vsphere.vmomi import vim

if TYPE_CHECKING:
    from datetime import datetime

    from stuntdouble.vsphere.center import VirtualCenter

T = TypeVar("T")

IDLE_SECONDS: Final = 1800.0
"""vCenter ends a session that was idle for 30 minutes (default of its client timeout)."""
SESSIONS_MAX: Final = 2000
"""Sessions at once: vCenter's own limit is 2000 concurrent ones (its default vpxd setting)."""
OWN_MAX: Final = 4000
"""Objects that a session holds.  Chosen: filters and collectors have limits below it."""
RESTS_MAX: Final = 100
"""Retrievals that a session has begun and not ended.  Chosen; clients walk one after another."""
TICKETS_MAX: Final = 1000
"""Tickets to clone a session that nobody has used yet.  Chosen."""

LOCAL: Final = "127.0.0.1"
"""Where a client in the same process seems to be."""

ALL_PRIVILEGES: Final = frozenset({"*"})
ANONYMOUS: Final = frozenset({"System.Anonymous"})
READ_ONLY: Final = frozenset({"System.Anonymous", "System.View", "System.Read"})


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can log in; ``privileges`` are identifiers of the API, or ``*`` for all."""

    name: str
    password: str = field(repr=False)
    privileges: frozenset[str] = ALL_PRIVILEGES


@dataclass(eq=False)
class Session:
    """A session; ``waiting`` counts its long polls, which keep it alive; without a ``user`` nobody has logged in yet.

    ``key`` is the secret of the cookie, ``id`` what others may know the session by.
    """

    key: str
    id: str
    user: User | None = None
    locale: str = "en"
    login_at: float = 0.0
    active_at: float = 0.0
    agent: str = ""
    address: str = ""
    own: dict[str, Managed] = field(default_factory=dict)
    rests: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    waiting: int = 0

    def hold(self, made: Managed) -> Any:
        """Keep an object that the client has made, as long as the session lasts; return its name.

        Raises:
            vim.fault.LimitExceeded: it holds too many already.
        """
        if len(self.own) >= OWN_MAX:
            text = f"The session holds {OWN_MAX} views, filters and collectors: destroy some."
            raise vim.fault.LimitExceeded(limit=OWN_MAX, msg=text)
        self.own[made.moid] = made
        return made.ref

    def put_off(self, token: str, rest: Any) -> None:
        """Keep what a client may ask on for; where there is much of it, the oldest is let go."""
        while len(self.rests) >= RESTS_MAX:
            del self.rests[next(iter(self.rests))]
        self.rests[token] = rest

    def may(self, privilege: str | None) -> bool:
        """Say whether the user has a privilege; what names none is open to whoever may look."""
        if privilege in ANONYMOUS:
            return True
        if self.user is None:
            return False
        privilege = privilege or "System.View"
        return "*" in self.user.privileges or privilege in self.user.privileges


class Sessions:
    """The sessions of a vCenter; *idle_seconds* of the clock that ``center.now`` tells end one."""

    def __init__(self, center: VirtualCenter, users: tuple[User, ...]) -> None:
        self.users = {user.name.lower(): user for user in users}
        self.idle_seconds = IDLE_SECONDS
        self.all: dict[str, Session] = {}
        self._center = center

    def find(self, key: str) -> Session | None:
        """Return the session of a cookie, None where it has ended."""
        session = self.all.get(key)
        if session is None:
            return None
        if self._idle(session):
            self.end(session)
            return None
        session.active_at = self._center.patience_now()
        return session

    def _idle(self, session: Session) -> bool:
        unused = self._center.patience_now() - session.active_at
        return not session.waiting and unused > self.idle_seconds

    def known(self, shown: str) -> Session | None:
        """Return a session by what others know it by."""
        return next((each for each in self.all.values() if each.id == shown), None)

    def anonymous(self) -> Session:
        """Return a session for a client that has shown no valid key."""
        key, shown = self._center.secret(40), self._center.secret(32)
        return Session(key, shown, active_at=self._center.patience_now())

    def user(self, name: str, password: str, address: str = "") -> User:
        """Return who has this name and password; *address* is where the client is.

        Raises:
            vim.fault.InvalidLogin: nobody.
        """
        user = self.users.get(name.lower())
        expected = (user.password if user else "").encode()
        if user is None or not hmac.compare_digest(expected, password.encode()):
            self._center.events.post(BAD_LOGIN, [], name, ipAddress=address or LOCAL)
            raise vim.fault.InvalidLogin(
                msg="Cannot complete login due to an incorrect user name or password."
            )
        return user

    def login(self, session: Session, name: str, password: str, locale: str | None) -> Session:
        """Log a user in.

        Raises:
            vim.fault.InvalidLogin: wrong name or password.
            vim.fault.InvalidState: there are too many sessions.
        """
        address = session.address or LOCAL
        user = self.user(name, password, address)
        self._drop_idle()
        if len(self.all) >= SESSIONS_MAX:
            raise vim.fault.InvalidState(msg=f"There are {SESSIONS_MAX} sessions: log one out.")
        session.user, session.locale = user, locale or "en"
        session.login_at = session.active_at = self._center.patience_now()
        self.all[session.key] = session
        self._center.events.post(
            LOGIN,
            [],
            user.name,
            ipAddress=address,
            userAgent=session.agent,
            locale=session.locale,
            sessionId=session.id,
        )
        return session

    def end(self, session: Session) -> None:
        """End a session and let go of what it has open."""
        self.all.pop(session.key, None)
        self._tell_of_end(session)
        session.user = None
        self._center.roots.leases.end(session)
        session.own.clear()
        session.rests.clear()
        session.versions.clear()
        self._center.changes.end(session.key)

    def _tell_of_end(self, session: Session) -> None:
        if session.user is not None:
            self._center.events.post(
                LOGOUT,
                [],
                session.user.name,
                ipAddress=session.address or LOCAL,
                userAgent=session.agent,
                callCount=session.calls,
                sessionId=session.id,
                loginTime=self._center.when_patience(session.login_at),
            )

    def expire_all(self) -> int:
        """End every session, as a restart of vCenter does; return how many there were."""
        ended = list(self.all.values())
        for session in ended:
            self.end(session)
        return len(ended)

    def _drop_idle(self) -> None:
        for session in [each for each in self.all.values() if self._idle(each)]:
            self.end(session)


def _with_room(tickets: dict[str, T]) -> dict[str, T]:
    """Return tickets that nobody has used yet, without the oldest where they are too many."""
    while len(tickets) >= TICKETS_MAX:
        del tickets[next(iter(tickets))]
    return tickets


class SessionManager(Managed):
    """``vim.SessionManager``."""

    kind = vim.SessionManager

    @prop
    def current_session(self) -> Any:
        session = self.center.calling
        return self.describe(session) if session is not None and session.user else None

    @prop
    def session_list(self) -> list[Any]:
        return [self.describe(session) for session in self.center.sessions.all.values()]

    @prop
    def message(self) -> str | None:
        return None

    @prop
    def default_locale(self) -> str:
        return "en"

    @prop
    def message_locale_list(self) -> list[str]:
        return ["en"]

    @prop
    def supported_locale_list(self) -> list[str]:
        return ["en"]

    def describe(self, session: Session) -> Any:
        """Return a session as the API shows it."""
        name = session.user.name if session.user else ""
        return vim.UserSession(
            key=session.id,
            userName=name,
            fullName=name,
            loginTime=self._when(session.login_at),
            lastActiveTime=self._when(session.active_at),
            locale=session.locale,
            messageLocale="en",
            extensionSession=False,
            ipAddress=session.address or LOCAL,
            userAgent=session.agent,
            callCount=session.calls,
        )

    def _when(self, patience: float) -> datetime:
        return self.center.when_patience(patience)

    @operation("Login")
    def login(
        self, session: Session, user_name: str, password: str, locale: str | None = None
    ) -> Any:
        if session.user is not None:
            raise vim.fault.InvalidLogin(msg="The session is already logged in.")
        return self.describe(self.center.sessions.login(session, user_name, password, locale))

    @operation("Logout")
    def logout(self, session: Session) -> None:
        self.center.sessions.end(session)

    @operation("SessionIsActive")
    def session_is_active(self, session: Session, session_id: str, user_name: str) -> bool:
        del session
        found = self.center.sessions.known(session_id)
        return found is not None and found.user is not None and found.user.name == user_name

    @operation("TerminateSession")
    def terminate_session(self, session: Session, session_id: list[str]) -> None:
        ending = [self.center.sessions.known(each) for each in session_id]
        for found in ending:
            if found is None:
                raise vim.fault.NotFound(msg="There is no such session.")
            if found is session:
                raise vim.fault.InvalidState(msg="A session cannot terminate itself: log out.")
        for found in ending:
            if found is not None:
                self.center.sessions.end(found)

    @operation("SetLocale")
    def set_locale(self, session: Session, locale: str) -> None:
        session.locale = locale

    @operation("AcquireCloneTicket")
    def acquire_clone_ticket(self, session: Session) -> str:
        ticket = self.center.secret(32)
        _with_room(self.center.tickets)[ticket] = session
        return ticket

    @operation("AcquireGenericServiceTicket")
    def acquire_generic_service_ticket(self, session: Session, spec: Any) -> Any:
        """Give out a ticket that is good for one request for a file, without the session's cookie."""
        if not isinstance(spec, vim.SessionManager.HttpServiceRequestSpec):
            raise not_supported(f"a ticket for {type(spec).__name__}")
        method = (spec.method or "httpGet").removeprefix("http").upper()
        try:
            path = unquote(urlsplit(spec.url).path)
        except ValueError:
            raise invalid_argument("spec.url") from None
        ticket = self.center.secret(32)
        _with_room(self.center.passes)[ticket] = session, method, path
        return vim.SessionManager.GenericServiceTicket(id=ticket)

    @operation("CloneSession")
    def clone_session(self, session: Session, clone_ticket: str) -> Any:
        origin = self.center.tickets.pop(clone_ticket, None)
        if origin is None or origin.user is None:
            raise vim.fault.InvalidLogin(msg="The ticket is not valid (any more).")
        user = origin.user
        self.center.sessions.login(session, user.name, user.password, origin.locale)
        return self.describe(session)
