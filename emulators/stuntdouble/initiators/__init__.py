"""Our clients of protocols that carry blocks: devices behind ``ports.BlockDevice``.

They know ports and codecs, and nothing of what they read from.
"""

from stuntdouble.initiators.nbd import NbdDevice, connect

__all__ = ["NbdDevice", "connect"]
