"""HPE 3PAR and Primera's WSAPI: the array as that interface says it.

    codes        how it says no                  personality  which path leads where
    bodies       what a body may hold            session      keys, and who may ask
    query        filters of lists                showing      what there is, as JSON
    vvs          volumes and snapshots as one    setting      names, ports, calendar
    volumes · snapshots · copies · tasks · sets · hosts · vluns · system · keyvalues

Where documents differ, the newer series' rules hold: a new volume is thin or reduced, and says so.
"""

from stuntdouble.arrayapi.wsapi.codes import CODES, MANNERS
from stuntdouble.arrayapi.wsapi.personality import Wsapi
from stuntdouble.arrayapi.wsapi.session import WsapiSessions
from stuntdouble.arrayapi.wsapi.setting import Portal, Setting

__all__ = ["CODES", "MANNERS", "Portal", "Setting", "Wsapi", "WsapiSessions"]
