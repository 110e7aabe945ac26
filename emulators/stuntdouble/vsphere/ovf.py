"""OVF descriptors of VMs (DMTF DSP0243), as an export puts them beside the disks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape, quoteattr

from stuntdouble.units import MIB
from stuntdouble.vsphere.faults import invalid_argument, not_supported
from stuntdouble.vsphere.hardware import virtual_disk
from stuntdouble.vsphere.objects import Managed, operation, prop
from stuntdouble.vsphere.vm import GUEST_NAME, MEMORY_BYTES, PROCESSORS, VirtualMachine
from stuntdouble.vsphere.vmomi import vim

if TYPE_CHECKING:
    from stuntdouble.vsphere.sessions import Session

_OVF: Final = "http://schemas.dmtf.org/ovf/envelope/1"
_CIM: Final = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2"
_FORMAT: Final = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
_OTHER_64: Final = 102  # CIM_OperatingSystem.OsType: Other 64-bit
_CPU, _MEMORY, _SCSI, _CARD, _DISK = 3, 4, 6, 10, 17  # CIM_ResourceAllocationSettingData
_ITEM: Final = (  # in the order that the schema asks for
    *("Address", "AddressOnParent", "AllocationUnits", "AutomaticAllocation", "Connection"),
    *("Description", "ElementName", "HostResource", "InstanceID", "Parent", "ResourceSubType"),
    *("ResourceType", "VirtualQuantity"),
)


class OvfManager(Managed):
    """``vim.OvfManager``, as far as VMs are exported."""

    kind = vim.OvfManager

    @prop
    def ovf_import_option(self) -> list[Any]:
        return []

    @prop
    def ovf_export_option(self) -> list[Any]:
        return []

    @operation("CreateDescriptor")
    def create_descriptor(self, session: Session, obj: Any, cdp: Any) -> Any:
        """Describe a VM; the files are those that the client says it has read."""
        del session
        machine = self.center.resolve_as(obj, VirtualMachine, "obj")
        if cdp.snapshot is not None:
            raise not_supported("the descriptor of a snapshot")
        return vim.OvfManager.CreateDescriptorResult(
            ovfDescriptor=_Descriptor(machine, cdp).text(), includeImageFiles=False
        )


class _Descriptor:
    def __init__(self, machine: VirtualMachine, params: Any) -> None:
        self._machine = machine
        self._name = params.name or machine.vm.name
        self._annotation = params.description or ""
        self._files = list(params.ovfFiles)
        self._disks = [
            virtual_disk(machine.center, machine.vm, disk) for disk in machine.vm.disks.values()
        ]
        buses = sorted({disk.controllerKey for disk in self._disks})
        self._controllers = {key: number for number, key in enumerate(buses, start=3)}
        for file in self._files:
            self._disk_of(file)

    def _disk_of(self, file: Any) -> Any:
        """Return the disk that a file is of; InvalidArgument where it is of none."""
        for disk in self._disks:
            place = f"Controller{disk.controllerKey % 1000}:{disk.unitNumber}"
            if file.deviceId.endswith(place):
                return disk
        raise invalid_argument("cdp.ovfFiles", f"no disk has the device id {file.deviceId!r}")

    def text(self) -> str:
        """Return the descriptor."""
        network = quoteattr(self._machine.center.roots.network.label())
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<Envelope xmlns="{_OVF}" xmlns:ovf="{_OVF}" xmlns:cim="http://schemas.dmtf.org/wbem/wscim/1/common"'
            f' xmlns:rasd="{_CIM}/CIM_ResourceAllocationSettingData"'
            f' xmlns:vssd="{_CIM}/CIM_VirtualSystemSettingData"'
            ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
            f"  <References>\n{self._references()}  </References>\n"
            f"  <DiskSection>\n    <Info>Virtual disks</Info>\n{self._disk_section()}  </DiskSection>\n"
            "  <NetworkSection>\n    <Info>Networks</Info>\n"
            f"    <Network ovf:name={network}><Description>A network</Description></Network>\n"
            "  </NetworkSection>\n"
            f"  <VirtualSystem ovf:id={quoteattr(self._name)}>\n    <Info>A virtual machine</Info>\n"
            f"    <Name>{escape(self._name)}</Name>\n{self._annotated()}"
            f'    <OperatingSystemSection ovf:id="{_OTHER_64}">\n      <Info>The guest</Info>\n'
            f"      <Description>{escape(GUEST_NAME)}</Description>\n    </OperatingSystemSection>\n"
            f"    <VirtualHardwareSection>\n      <Info>Virtual hardware</Info>\n{self._system()}"
            f"{self._hardware()}    </VirtualHardwareSection>\n  </VirtualSystem>\n</Envelope>\n"
        )

    def _annotated(self) -> str:
        if not self._annotation:
            return ""
        text = escape(self._annotation)
        return (
            "    <AnnotationSection>\n      <Info>A description</Info>\n"
            f"      <Annotation>{text}</Annotation>\n    </AnnotationSection>\n"
        )

    def _references(self) -> str:
        return "".join(
            f'    <File ovf:href={quoteattr(file.path)} ovf:id="file{number}"'
            f' ovf:size="{file.size}"/>\n'
            for number, file in enumerate(self._files, start=1)
        )

    def _disk_section(self) -> str:
        numbers = {self._disk_of(file).key: n for n, file in enumerate(self._files, start=1)}
        sizes = {self._disk_of(file).key: file.populatedSize for file in self._files}
        lines = []
        for number, disk in enumerate(self._disks, start=1):
            more = f' ovf:fileRef="file{numbers[disk.key]}"' if disk.key in numbers else ""
            if sizes.get(disk.key) is not None:
                more += f' ovf:populatedSize="{sizes[disk.key]}"'
            lines.append(
                f'    <Disk ovf:capacity="{disk.capacityInBytes}" ovf:capacityAllocationUnits="byte"'
                f' ovf:diskId="vmdisk{number}"{more} ovf:format="{_FORMAT}"/>\n'
            )
        return "".join(lines)

    def _system(self) -> str:
        return (
            "      <System>\n"
            "        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>\n"
            "        <vssd:InstanceID>0</vssd:InstanceID>\n"
            f"        <vssd:VirtualSystemIdentifier>{escape(self._name)}"
            "</vssd:VirtualSystemIdentifier>\n"
            "        <vssd:VirtualSystemType>"
            f"vmx-{self._machine.vm.hardware_version:02d}</vssd:VirtualSystemType>\n"
            "      </System>\n"
        )

    def _hardware(self) -> str:
        items = [
            {
                "AllocationUnits": "hertz * 10^6",
                "Description": "Number of Virtual CPUs",
                "ElementName": f"{PROCESSORS} virtual CPU(s)",
                "InstanceID": 1,
                "ResourceType": _CPU,
                "VirtualQuantity": PROCESSORS,
            },
            {
                "AllocationUnits": "byte * 2^20",
                "Description": "Memory Size",
                "ElementName": f"{MEMORY_BYTES // MIB}MB of memory",
                "InstanceID": 2,
                "ResourceType": _MEMORY,
                "VirtualQuantity": MEMORY_BYTES // MIB,
            },
        ]
        for key, number in self._controllers.items():
            items.append(
                {
                    "Address": key % 1000,
                    "Description": "SCSI Controller",
                    "ElementName": f"SCSI Controller {key % 1000}",
                    "InstanceID": number,
                    "ResourceSubType": "VirtualSCSI",
                    "ResourceType": _SCSI,
                }
            )
        start = 3 + len(self._controllers)
        for number, disk in enumerate(self._disks):
            items.append(
                {
                    "AddressOnParent": disk.unitNumber,
                    "ElementName": disk.deviceInfo.label,
                    "HostResource": f"ovf:/disk/vmdisk{number + 1}",
                    "InstanceID": start + number,
                    "Parent": self._controllers[disk.controllerKey],
                    "ResourceType": _DISK,
                }
            )
        items.append(
            {
                "AddressOnParent": 7,
                "AutomaticAllocation": "true",
                "Connection": self._machine.center.roots.network.label(),
                "Description": "VmxNet3 ethernet adapter",
                "ElementName": "Network adapter 1",
                "InstanceID": start + len(self._disks),
                "ResourceSubType": "VmxNet3",
                "ResourceType": _CARD,
            }
        )
        return "".join(map(_item, items))


def _item(values: dict[str, Any]) -> str:
    lines = "".join(
        f"        <rasd:{name}>{escape(str(values[name]))}</rasd:{name}>\n"
        for name in _ITEM
        if name in values
    )
    return f"      <Item>\n{lines}      </Item>\n"
