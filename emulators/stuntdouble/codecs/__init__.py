"""Messages of storage protocols and formats of files: bytes to values and back, without any I/O.

A codec knows what may be said, how it is written, and how long it may be.  Server and client share
it, and so does a test that speaks to either.
"""

from stuntdouble.codecs import nbd, scsi, vmdk

__all__ = ["nbd", "scsi", "vmdk"]
