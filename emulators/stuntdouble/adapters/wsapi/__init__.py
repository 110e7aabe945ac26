"""Our client of HPE 3PAR and Primera's WSAPI, by plain HTTP.

Nothing here knows of the emulator: what it knows is what the vendor documents.  The vendor's own
client is not used: it repeats every request that was refused by 403, its count of attempts after a
503 never goes back up, and it blocks the loop.
"""

from stuntdouble.adapters.wsapi.array import WsapiArray
from stuntdouble.adapters.wsapi.client import WsapiClient
from stuntdouble.adapters.wsapi.problems import error_of

__all__ = ["WsapiArray", "WsapiClient", "error_of"]
