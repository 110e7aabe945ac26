"""What there are events of, and what each of them says.

An event of vCenter's has a type of the API, or is an ``EventEx`` under an identifier.  Where vCenter
has neither for what the emulated hypervisor notes (a stun, tracking that is lost), the identifier
begins with ``stuntdouble.``.  vCenter's own identifiers of consolidation are those that monitoring
products watch for (Veeam ONE's list of alarms names all three).

Texts have the event's properties in braces, as ``EventDescription`` has them; a note's facts too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from stuntdouble.vsphere.vmomi import vim

CONSOLIDATION_NEEDED: Final = "com.vmware.vc.VmDiskConsolidationNeeded"
CONSOLIDATED: Final = "com.vmware.vc.VmDiskConsolidatedEvent"
NOT_CONSOLIDATED: Final = "com.vmware.vc.VmDiskFailedToConsolidateEvent"
API: Final = "vim.event."
"""What identifiers of events with a type of their own begin with."""

LOGIN: Final = f"{API}UserLoginSessionEvent"
LOGOUT: Final = f"{API}UserLogoutSessionEvent"
BAD_LOGIN: Final = f"{API}BadUsernameSessionEvent"
RECONFIGURED: Final = f"{API}VmReconfiguredEvent"

_ON: Final = "{vm.name} on {host.name} in {datacenter.name}"


@dataclass(frozen=True, slots=True)
class Incident:
    """A kind of event: "info", "warning", "error" or "user", and its text."""

    category: str
    text: str


INCIDENTS: Final[dict[str, Incident]] = {
    f"{API}TaskEvent": Incident("info", "Task: {what}"),
    f"{API}VmStartingEvent": Incident("info", f"{_ON} is starting"),
    f"{API}VmPoweredOnEvent": Incident("info", f"{_ON} is powered on"),
    f"{API}VmStoppingEvent": Incident("info", f"{_ON} is stopping"),
    f"{API}VmPoweredOffEvent": Incident("info", f"{_ON} is powered off"),
    RECONFIGURED: Incident("info", f"Reconfigured {_ON}"),
    f"{API}VmCreatedEvent": Incident("info", f"Created virtual machine {_ON}"),
    f"{API}VmRegisteredEvent": Incident("info", f"Registered {_ON}"),
    f"{API}VmRemovedEvent": Incident("info", f"Removed {_ON}"),
    f"{API}VmRelocatedEvent": Incident("info", f"Completed the relocation of {_ON}"),
    f"{API}VmMessageEvent": Incident("warning", f"Message on {_ON}: {{message}}"),
    f"{API}HostConnectionLostEvent": Incident(
        "error", "Host {host.name} in {datacenter.name} is not responding"
    ),
    f"{API}HostConnectedEvent": Incident("info", "Connected to {host.name} in {datacenter.name}"),
    f"{API}DatastoreDiscoveredEvent": Incident(
        "info", "Found datastore {datastore.name} on {host.name} in {datacenter.name}"
    ),
    f"{API}DatastoreRemovedOnHostEvent": Incident(
        "info", "Removed datastore {datastore.name} from {host.name} in {datacenter.name}"
    ),
    f"{API}AlarmStatusChangedEvent": Incident(
        "info", "Alarm '{alarm.name}' on {entity.name} changed from {from} to {to}"
    ),
    LOGIN: Incident("info", "User {userName}@{ipAddress} logged in as {userAgent}"),
    LOGOUT: Incident("info", "User {userName}@{ipAddress} logged out (login time: {loginTime})"),
    BAD_LOGIN: Incident("error", "Cannot login {userName}@{ipAddress}"),
    f"{API}GeneralUserEvent": Incident("user", "User logged event: {message}"),
    CONSOLIDATION_NEEDED: Incident(
        "warning", f"Virtual machine {_ON}: consolidation of its disks is needed"
    ),
    CONSOLIDATED: Incident("info", f"Virtual machine {_ON}: its disks have been consolidated"),
    NOT_CONSOLIDATED: Incident("error", f"Virtual machine {_ON}: consolidating its disks failed"),
    "stuntdouble.vm.snapshot.created": Incident("info", f"{_ON}: snapshot {{id}} has been taken"),
    "stuntdouble.vm.snapshot.removed": Incident("info", f"{_ON}: snapshot {{id}} is gone"),
    "stuntdouble.vm.snapshot.reverted": Incident("info", f"{_ON}: it is back at snapshot {{id}}"),
    "stuntdouble.vm.consolidating": Incident("info", f"{_ON}: its disks are being consolidated"),
    "stuntdouble.vm.stunned": Incident("info", f"{_ON}: {{line}}"),
    "stuntdouble.vm.quiesced": Incident(
        "info", f"{_ON}: the guest was frozen for {{seconds:.3f}} s"
    ),
    "stuntdouble.vm.resumed": Incident("info", f"{_ON}: it goes on, the question is answered"),
    "stuntdouble.vm.crashed": Incident("error", f"{_ON}: its process has died: {{line}}"),
    "stuntdouble.vm.tracking.lost": Incident(
        "warning", f"{_ON}: changes of disk {{disk}} are tracked anew ({{cause}})"
    ),
    "stuntdouble.vm.disk.extended": Incident("info", f"{_ON}: disk {{disk}} has {{bytes}} bytes"),
    "stuntdouble.vm.disk.locked": Incident("error", f"{_ON}: {{by}} has {{files}} open"),
    "stuntdouble.vm.disk.released": Incident("info", f"{_ON}: its files are closed again"),
    "stuntdouble.datastore.full": Incident(
        "error", "Datastore {ds.name}: {bytes_needed} bytes are needed, {bytes_free} are free"
    ),
    "stuntdouble.host.rescanned": Incident("info", "{host.name}: {devices} devices were found"),
}
"""What can happen, by the identifier of the event."""

NOTES: Final[dict[str, tuple[str, ...]]] = {
    "paused": (f"{API}VmMessageEvent",),
    "resumed": ("stuntdouble.vm.resumed",),
    "powered-on": (f"{API}VmPoweredOnEvent",),
    "powered-off": (f"{API}VmPoweredOffEvent",),
    "crash": ("stuntdouble.vm.crashed",),
    "host-crash": (f"{API}HostConnectionLostEvent",),
    "host-up": (f"{API}HostConnectedEvent",),
    "stun": ("stuntdouble.vm.stunned",),
    "freeze": ("stuntdouble.vm.quiesced",),
    "snapshot": ("stuntdouble.vm.snapshot.created",),
    "snapshot-removed": ("stuntdouble.vm.snapshot.removed",),
    "revert": ("stuntdouble.vm.snapshot.reverted",),
    "consolidation-start": ("stuntdouble.vm.consolidating",),
    "consolidation": (CONSOLIDATED,),
    "needs-consolidation": (CONSOLIDATION_NEEDED,),
    "delta-locked": ("stuntdouble.vm.disk.locked",),
    "delta-released": ("stuntdouble.vm.disk.released",),
    "tracking-lost": ("stuntdouble.vm.tracking.lost",),
    "extended": ("stuntdouble.vm.disk.extended",),
    "datastore-full": ("stuntdouble.datastore.full",),
    "mounted": (f"{API}DatastoreDiscoveredEvent",),
    "unmounted": (f"{API}DatastoreRemovedOnHostEvent",),
    "rescanned": ("stuntdouble.host.rescanned",),
    "registered": (f"{API}VmRegisteredEvent",),
    "unregistered": (f"{API}VmRemovedEvent",),
    "destroyed": (f"{API}VmRemovedEvent",),
    "relocated": (f"{API}VmRelocatedEvent",),
}
"""The events that come of a note of the hypervisor's journal, by the kind of note."""

STARTS: Final = {
    "PowerOnVM_Task": f"{API}VmStartingEvent",
    "PowerOffVM_Task": f"{API}VmStoppingEvent",
    "ShutdownGuest": f"{API}VmStoppingEvent",
}
ENDS: Final = {
    "CreateVM_Task": f"{API}VmCreatedEvent",
}
"""The events that come of the start and the success of a task, by its name."""

TASKS: Final = {
    "CreateSnapshot_Task": "Create virtual machine snapshot",
    "CreateSnapshotEx_Task": "Create virtual machine snapshot",
    "RemoveSnapshot_Task": "Remove snapshot",
    "RemoveAllSnapshots_Task": "Remove all snapshots",
    "RevertToSnapshot_Task": "Revert snapshot",
    "RevertToCurrentSnapshot_Task": "Revert to current snapshot",
    "ConsolidateVMDisks_Task": "Consolidate virtual machine disk files",
    "ReconfigVM_Task": "Reconfigure virtual machine",
    "PowerOnVM_Task": "Power On virtual machine",
    "PowerOffVM_Task": "Power Off virtual machine",
    "ShutdownGuest": "Initiate guest OS shutdown",
    "RelocateVM_Task": "Relocate virtual machine",
    "CreateVM_Task": "Create virtual machine",
    "RegisterVM_Task": "Register virtual machine",
    "Destroy_Task": "Delete virtual machine",
}
"""What vCenter calls its tasks; others go by the words of their name."""


def task_label(name: str) -> str:
    """Return what a task is called."""
    if name in TASKS:
        return TASKS[name]
    stem = name.removesuffix("_Task")
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in stem).split()
    return " ".join(words).capitalize()


def type_of(identifier: str) -> Any:
    """Return the type of the API that an event of this identifier has."""
    if identifier.startswith(API):
        return getattr(vim.event, identifier.removeprefix(API))
    return vim.event.EventEx


def description() -> Any:
    """Return the catalogue of all that there are events of."""
    described = vim.event.EventDescription
    details = [
        described.EventDetail(
            key=type_of(identifier),
            description=identifier.rpartition(".")[2],
            category=incident.category,
            formatOnDatacenter=incident.text,
            formatOnComputeResource=incident.text,
            formatOnHost=incident.text,
            formatOnVm=incident.text,
            fullFormat=incident.text
            if identifier.startswith(API)
            else f"{identifier}|{incident.text}",
        )
        for identifier, incident in INCIDENTS.items()
    ]
    names = ("info", "Information"), ("warning", "Warning"), ("error", "Error"), ("user", "User")
    return described(
        category=[vim.ElementDescription(key=k, label=v, summary=v) for k, v in names],
        eventInfo=details,
    )
