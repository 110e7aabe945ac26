"""The native interface: REST for what vendors' interfaces do not say of a site.

``create_app`` makes an application over a ``Control``.  It says; what happens is the site's.
"""

from stuntdouble.native import models
from stuntdouble.native.access import Access
from stuntdouble.native.app import PREFIX, create_app
from stuntdouble.native.control import Control
from stuntdouble.native.crossing import Across, Crossing, Here

__all__ = ["PREFIX", "Access", "Across", "Control", "Crossing", "Here", "create_app", "models"]
