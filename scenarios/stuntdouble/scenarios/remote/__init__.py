"""A comparison against a served site: the same backup server, over sockets, in wall time.

    CLI ──▶ compare_remote ──▶ Target ──connect──▶ RemoteSite
                │                                  ├─ vSphere (pyVmomi)   VMs, snapshots, changes, copies
                │                                  ├─ native (REST)       offset tables, clock, truth
                │                                  ├─ NBD                 the bytes of disks
                │                                  └─ the array           see ``arrays``
                └─ before each method: the site is put back to the checkpoint that was taken first

Needs the extras ``vsphere`` and ``native``.
"""

from stuntdouble.scenarios.remote.arrays import ArrayChoice, array_choice
from stuntdouble.scenarios.remote.comparing import compare_remote
from stuntdouble.scenarios.remote.target import Target, target_of

__all__ = ["ArrayChoice", "Target", "array_choice", "compare_remote", "target_of"]
