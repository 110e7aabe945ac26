"""List what a VM's first disk had written between two moments.  pyVmomi against any vCenter.

python changed_areas.py HOST PORT USER PASSWORD VM
"""

import sys
import time

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

host, port, user, password, name = sys.argv[1:6]
si = SmartConnect(host=host, port=int(port), user=user, pwd=password, disableSslCertValidation=True)
content = si.RetrieveContent()
view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
vm = next(each for each in view.view if each.name == name)
WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)))


def snapshot():
    task = vm.CreateSnapshot_Task(name="rehearsal", memory=False, quiesce=True)
    WaitForTask(task)
    devices = task.info.result.config.hardware.device
    return task.info.result, next(d for d in devices if isinstance(d, vim.vm.device.VirtualDisk))


first, before = snapshot()
WaitForTask(first.RemoveSnapshot_Task(removeChildren=False))
time.sleep(5)
second, disk = snapshot()
start = 0
while start < disk.capacityInBytes:
    page = vm.QueryChangedDiskAreas(second, disk.key, start, before.backing.changeId)
    for area in page.changedArea:
        print(area.start, area.length)
    start = page.startOffset + page.length
WaitForTask(second.RemoveSnapshot_Task(removeChildren=False))
Disconnect(si)
