"""Our clients of vendors' interfaces, behind the ports that a backup server calls.

They know the interface and nothing of who answers: the same code is meant for an emulator and for
the real thing.
"""

__all__: list[str] = []
