"""Extensions: registered, found, updated, and taken out again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from vcenter import Site, played


def extension(key: str, version: str) -> Any:
    described = vim.Description(label="Backup", summary="A backup product")
    return vim.Extension(
        key=key,
        version=version,
        description=described,
        lastHeartbeatTime=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_an_extension_is_there_until_it_is_taken_out() -> None:
    def client(site: Site) -> None:
        manager = site.content.extensionManager
        assert manager.FindExtension("com.example.backup") is None
        manager.RegisterExtension(extension("com.example.backup", "1"))
        for again in ("com.example.backup", ""):
            with pytest.raises(vmodl.fault.InvalidArgument):
                manager.RegisterExtension(extension(again, "1"))
        assert manager.FindExtension("com.example.backup").version == "1"
        manager.UpdateExtension(extension("com.example.backup", "2"))
        assert [(e.key, e.version) for e in manager.extensionList] == [("com.example.backup", "2")]
        manager.UnregisterExtension("com.example.backup")
        assert list(manager.extensionList) == []
        with pytest.raises(vim.fault.NotFound):
            manager.UnregisterExtension("com.example.backup")
        with pytest.raises(vim.fault.NotFound):
            manager.UpdateExtension(extension("com.example.backup", "3"))

    played(client)
