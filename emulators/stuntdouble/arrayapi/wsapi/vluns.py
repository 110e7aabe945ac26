"""Exports: each VLUN template lets a host see a volume at a number, by every port or by one.

The array masks by host.  A template that names a port is kept with the host beside the mapping, so
that several of them may stand for one mapping; a mapping without any is a template for all ports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.array import Volume
from stuntdouble.arrayapi.messages import Reply
from stuntdouble.arrayapi.wsapi import vvs
from stuntdouble.arrayapi.wsapi.bodies import Shape, flag, inner, no_body, text, whole
from stuntdouble.arrayapi.wsapi.codes import Refusal, unsupported
from stuntdouble.arrayapi.wsapi.query import asked, matching
from stuntdouble.arrayapi.wsapi.showing import members, wwn

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from simpy.events import Event

    from stuntdouble.array import Array, Host
    from stuntdouble.arrayapi.messages import Request
    from stuntdouble.arrayapi.wsapi.hosts import Hosts
    from stuntdouble.arrayapi.wsapi.setting import Portal, Setting
    from stuntdouble.arrayapi.wsapi.vvs import Vv

LUN_MAX: Final = 16383  # flat space addressing (SAM-5); beyond it the guide says TOO_LARGE

HOST_TYPE, MATCHED_SET = 3, 4  # VLUNType: by every port, by one

_PORT: Final = Shape(
    {"node": whole(0, 7), "slot": whole(0, 9), "cardPort": whole(0, 9)},
    ("node", "slot", "cardPort"),
)
_NEW: Final = Shape(
    {
        "volumeName": text(31 + len("set:")),
        "hostname": text(31 + len("set:")),
        "lun": whole(0, LUN_MAX, beyond="TOO_LARGE"),
        "autoLun": flag,
        "maxAutoLun": whole(0, LUN_MAX, beyond="TOO_LARGE"),
        "portPos": inner(_PORT),
        "noVcn": flag,
        "overrideLowerPriority": flag,
    },
    ("volumeName",),
)
_KEYS: Final = ("volumeName", "hostname", "volumeWWN", "lun", "remoteName", "active", "serial")
_POSITION: Final = re.compile(r"[0-9]+:[0-9]+:[0-9]+")


@dataclass(frozen=True)
class _Template:
    """An export: *port* is "" for every one."""

    volume: str
    naa: str
    host: Host
    lun: int
    port: str


class Vluns:
    """The paths below ``/vluns``.

    Args:
        array: whose exports they are.
        setting: how the array presents itself.
        hosts: to whom.
    """

    def __init__(self, array: Array, setting: Setting, hosts: Hosts) -> None:
        self._array = array
        self._setting = setting
        self._hosts = hosts
        array.on_luns_changed.append(self._forget)

    def _forget(self, host: Host) -> None:
        """Let go of the ports of mappings that somebody has taken away."""
        seen = {volume.naa for volume in self._array.masking.luns_of(host).values()}
        ports = _ports_of(host)
        for naa in [each for each in ports if each not in seen]:
            del ports[naa]

    # Looking. ----------------------------------------------------------------------------------

    def listed(self, request: Request) -> Reply:
        """Return every export, or some: each as a template, and once more where it is active."""
        expression = asked(request.query)
        templates = list(self._templates())
        shown = [self._show(each) for each in templates]
        shown += [active for each in templates for active in self._active(each)]
        return Reply(200, members(matching(shown, expression, _KEYS)))

    def one(self, _request: Request, name: str) -> Reply:
        """Return a template."""
        return Reply(200, self._show(self._find(name)))

    def _templates(self) -> Iterator[_Template]:
        for mapping in self._array.masking.to_hosts():
            host = self._array.hosts.get(mapping.host)
            for port in _ports_of(host).get(mapping.naa) or [""]:
                yield _Template(mapping.volume, mapping.naa, host, mapping.lun, port)

    def _show(self, template: _Template) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "lun": template.lun,
            "volumeName": template.volume,
            "hostname": template.host.name,
            "volumeWWN": wwn(template.naa),
            "type": MATCHED_SET if template.port else HOST_TYPE,
            "multipathing": 1,
            "failedPathPol": 1,
            "failedPathInterval": 0,
            "active": False,
        }
        if template.port:
            numbers = map(int, template.port.split(":"))
            shown["portPos"] = dict(zip(("node", "slot", "cardPort"), numbers, strict=True))
        return shown

    def _active(self, template: _Template) -> Iterator[dict[str, Any]]:
        """Return what the host sees of it: by each of its initiators, at each port."""
        for portal in self._setting.portals():
            if template.port in ("", str(portal)):
                for iqn in template.host.iqns:
                    paths = {"active": True, "remoteName": iqn, "portPos": portal.position}
                    yield self._show(template) | paths

    def _portal(self, port: str) -> Portal:
        found = next((p for p in self._setting.portals() if str(p) == port), None)
        if found is None:
            raise Refusal("NON_EXISTENT_PORT", ref=port)
        return found

    def _find(self, name: str) -> _Template:
        """Return the template of ``volume,lun,host[,n:s:p]``; Refusal where there is none."""
        parts = name.split(",")
        if not 3 <= len(parts) <= 4 or not all(parts[:2]) or not any(parts[2:]):
            raise Refusal("INV_INPUT_MISSING_REQUIRED", "volume,lun,host or volume,lun,host,port")
        volume, lun, host = parts[0], _lun(parts[1]), parts[2]
        port = parts[3] if len(parts) == 4 else ""
        if port and not _POSITION.fullmatch(port):
            raise Refusal("INV_INPUT_PORT_SPECIFICATION", ref=port)
        if not host:
            raise unsupported("an export to a port without a host")
        wanted = self._hosts.find(host)
        if port:
            self._portal(port)
        for each in self._templates():
            if (each.volume, each.lun, each.host, each.port) == (volume, lun, wanted, port):
                return each
        raise Refusal("NON_EXISTENT_VLUN", ref=name)

    # Changing. ---------------------------------------------------------------------------------

    def create(self, request: Request) -> Generator[Event, Any, Reply]:
        """Export a volume or a snapshot."""
        found = _NEW.read(request.body)
        vv, host, port = self._wanted(found)
        there = self._there(vv, host)
        lun = self._number(found, vv, host, port)
        if there is None:
            mapping = yield from self._array.map_to_host(vv.name, host.name, lun)
            lun = mapping.lun
        if port:
            _ports_of(host).setdefault(vv.naa, []).append(port)
        where = f"/api/v1/vluns/{vv.name},{lun},{host.name}" + (f",{port}" if port else "")
        return Reply(201, None, (("Location", where),))

    def _wanted(self, found: dict[str, Any]) -> tuple[Vv, Host, str]:
        if "hostname" not in found and "portPos" not in found:
            raise Refusal("MISSING_VLUN_EXPORT_INFO", ref="hostname,portPos")
        if "hostname" not in found:
            if found.get("overrideLowerPriority"):
                raise Refusal("INV_INPUT_PARAM_CONFLICT", ref="overrideLowerPriority,hostname")
            raise unsupported("an export to a port without a host")
        for member in ("volumeName", "hostname"):
            if found[member].startswith("set:"):
                raise unsupported(f"an export of or to a set ({found[member]})")
        vv = vvs.get(self._array, found["volumeName"])
        host = self._hosts.find(found["hostname"])
        if vvs.stale(vv):
            raise Refusal("VV_IN_STALE_STATE", ref=vv.name)
        if isinstance(vv, Volume) and vv.writer is not None:
            raise Refusal("INV_OPERATION_VLUN_PCOPY_TARGET_VV", ref=vv.name)
        port = ""
        if "portPos" in found:
            at = found["portPos"]
            port = str(self._portal(f"{at['node']}:{at['slot']}:{at['cardPort']}"))
        return vv, host, port

    def _there(self, vv: Vv, host: Host) -> int | None:
        """Return the number at which a host sees it already, or None."""
        seen = self._array.masking.luns_of(host).items()
        return next((lun for lun, volume in seen if volume.naa == vv.naa), None)

    def _number(self, found: dict[str, Any], vv: Vv, host: Host, port: str) -> int | None:
        """Return the LUN number that is asked for; Refusal where it cannot be had."""
        seen = self._array.masking.luns_of(host)
        there = self._there(vv, host)
        if there is not None:
            ports = _ports_of(host).get(vv.naa, [])
            wants = found.get("lun", there)
            if not port or not ports or port in ports:
                raise Refusal("EXISTENT_LUN", ref=f"{vv.name},{there},{host.name}")
            if not found.get("autoLun") and wants != there:
                raise Refusal("EXISTENT_LUN", f"exported at LUN {there}", vv.name)
            return there
        most = min(LUN_MAX, self._array.parameters.lun_max)
        if not found.get("autoLun"):
            if "maxAutoLun" in found:
                raise Refusal("INV_INPUT_PARAM_CONFLICT", ref="autoLun,maxAutoLun")
            if "lun" not in found:
                raise Refusal("INV_INPUT", "neither lun nor autoLun is there", "lun")
            lun: int = found["lun"]
            if lun > most:
                raise Refusal("TOO_LARGE", f"LUN numbers are 0 to {most}", "lun")
            if lun in seen:
                raise Refusal("EXISTENT_LUN", f"LUN {lun} of {host.name}", "lun")
            return lun
        first, last = found.get("lun", 0), found.get("maxAutoLun", 0) or most
        free = next((n for n in range(first, min(last, most) + 1) if n not in seen), None)
        if free is None:
            raise Refusal("AUTO_LUN_ID_UNAVAILABLE", f"{first} to {min(last, most)}", "lun")
        return free

    def delete(self, request: Request, name: str) -> Generator[Event, Any, Reply]:
        """Take an export away; the mapping goes with the last template."""
        no_body(request.body)
        template = self._find(name)
        ports = _ports_of(template.host)
        rest = [port for port in ports.get(template.naa, []) if port != template.port]
        if rest:
            ports[template.naa] = rest
        else:
            yield from self._array.unmap_from_host(template.volume, template.host.name)
        return Reply(200)


def _ports_of(host: Host) -> dict[str, list[str]]:
    """Return the ports of a host's templates that name one, by the identifier of the volume."""
    found: dict[str, list[str]] = vvs.notes(host).setdefault("ports", {})
    return found


def _lun(digits: str) -> int:
    if not digits.isascii() or not digits.isdigit():
        raise Refusal("INV_INPUT_WRONG_TYPE", "the LUN is no number", digits)
    if len(digits) > len(str(LUN_MAX)) or int(digits) > LUN_MAX:
        raise Refusal("INV_INPUT_EXCEEDS_RANGE", f"at most {LUN_MAX}", digits)
    return int(digits)
