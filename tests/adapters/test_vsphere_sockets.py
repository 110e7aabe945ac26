"""Our client of the vSphere API over real sockets: sessions that end, VMs that are busy, late
properties, and answers cut in every way."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from pyVmomi import vim

from stuntdouble.adapters.vsphere import Connection, Patience, VsphereHypervisor
from stuntdouble.errors import TaskInProgress
from stuntdouble.extents import Runs
from stuntdouble.ports import ALL_ALLOCATED
from vsphere.serving import served

pytestmark = pytest.mark.paced

VM, DISK = "web-1", 2000


class Counting(Connection):
    """Counts what its calls met."""

    met: dict[type, int]
    logins = 0

    async def _once(self, function, subject, request):
        try:
            return await super()._once(function, subject, request)
        except Exception as error:
            self.met[type(error)] = self.met.get(type(error), 0) + 1
            raise


def over_sockets(client, **options):
    """Return what ``client(hypervisor, connection, site)`` returns, on a loop in wall time."""

    def in_thread(site):
        async def main():
            def log_in():
                connection.logins += 1
                return site.connect()

            patience = Patience(poll_seconds=0.05, poll_seconds_max=0.2)
            connection = Counting(log_in, patience=patience)
            connection.met = {}
            try:
                return await client(VsphereHypervisor(connection, None), connection, site)
            finally:
                await connection.close()

        return asyncio.run(main())

    return served(in_thread, **options)


@pytest.mark.parametrize("plain", [True, False])
def test_a_session_that_is_ended_by_another_is_begun_anew(plain):
    async def client(hypervisor, connection, site):
        snapshot = await hypervisor.create_snapshot(VM, "one", quiesce=False)
        content = await connection.content()
        key = content.sessionManager.currentSession.key
        admin = await asyncio.to_thread(site.connect)
        manager = admin.RetrieveContent().sessionManager
        await asyncio.to_thread(manager.TerminateSession, [key])
        (again,) = await hypervisor.snapshots(VM)
        assert connection.logins == 2
        key = (await connection.content()).sessionManager.currentSession.key
        await asyncio.to_thread(manager.TerminateSession, [key])
        await hypervisor.remove_snapshot(snapshot)
        left = await hypervisor.snapshots(VM)
        await asyncio.to_thread(manager.Logout)
        admin._stub.DropConnections()
        return snapshot == again, left, connection.logins

    assert over_sockets(client, plain=plain) == (True, (), 3)


def test_a_session_that_ends_while_a_task_is_waited_for_loses_nothing():
    async def client(hypervisor, connection, site):
        async def end_sessions():
            for _ in range(5):
                await asyncio.sleep(0.05)
                logins = connection.logins
                site.on_loop(site.center.sessions.all.clear)
                while connection.logins == logins and not done.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # a call is tried in one new session, not in many
                await asyncio.sleep(0.5)

        done = asyncio.Event()
        ending = asyncio.create_task(end_sessions())
        snapshot = await hypervisor.create_snapshot(VM, "one", quiesce=False)
        done.set()
        await ending
        found = await hypervisor.snapshots(VM)
        await hypervisor.remove_snapshot(snapshot)
        return found == (snapshot,), await hypervisor.snapshots(VM), connection.logins

    same, left, logins = over_sockets(client, rate=5.0)
    assert (same, left) == (True, ())
    assert logins > 1


def test_a_vm_that_another_task_holds_is_waited_for():
    async def client(hypervisor, connection, site):
        other = await asyncio.to_thread(site.connect)
        view = other.RetrieveContent().viewManager
        root = other.RetrieveContent().rootFolder
        found = view.CreateContainerView(root, [vim.VirtualMachine], True).view
        machine = next(vm for vm in found if vm.name == VM)
        take = partial(
            machine.CreateSnapshot_Task, name="theirs", description="", memory=False, quiesce=False
        )
        await asyncio.to_thread(take)
        ours = await hypervisor.create_snapshot(VM, "ours", quiesce=False)
        names = [each.name for each in await hypervisor.snapshots(VM)]
        other._stub.DropConnections()
        return names, ours.name, connection.met

    names, ours, met = over_sockets(client, rate=2.0)
    assert (names, ours) == (["theirs", "ours"], "ours")
    assert met.get(TaskInProgress, 0) >= 1, "it was busy, and the client came back"


def test_properties_that_come_late_are_waited_for():
    async def client(hypervisor, connection, site):
        site.on_loop(partial(site.world.hypervisor.quirks.switch, "delayed-properties", on=True))
        await hypervisor.enable_tracking(VM)
        found = []
        for name in ("one", "two"):
            made = await hypervisor.create_snapshot(VM, name, quiesce=False)
            found.append((made.name, sorted(made.change_ids)))
        return found

    assert over_sockets(client) == [("one", [DISK]), ("two", [DISK])]


@pytest.mark.parametrize("mode", ["areas", "one-page", "span", "span-empty", "random"])
def test_changes_are_the_same_however_they_are_cut(mode):
    async def client(hypervisor, connection, site):
        await hypervisor.enable_tracking(VM)
        first = await hypervisor.create_snapshot(VM, "one", quiesce=False)
        await hypervisor.remove_snapshot(first)
        await asyncio.sleep(0.3)
        second = await hypervisor.create_snapshot(VM, "two", quiesce=False)
        (info,) = await hypervisor.vms()
        size = info.disks[0].capacity_bytes

        async def all_of(since):
            start, found, pages = 0, Runs.empty(), 0
            while start < size:
                page = await hypervisor.changed_ranges(second, DISK, since, start)
                found, start, pages = found | page.extents, page.start + page.covered, pages + 1
            return found, pages

        asked = (first.change_ids[DISK], ALL_ALLOCATED)
        change = site.world.hypervisor.paging.change
        site.on_loop(partial(change, mode="one-page"))
        truth = [await all_of(since) for since in asked]
        site.on_loop(partial(change, mode=mode, areas=5, span_bytes=8 << 20))
        return truth, [await all_of(since) for since in asked]

    truth, found = over_sockets(client)
    assert [runs for runs, _ in found] == [runs for runs, _ in truth]
    assert all(runs for runs, _ in truth)
    if mode != "one-page":
        assert max(pages for _, pages in found) > 3
