"""The door in process: a personality on the loop that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.clock import perform

if TYPE_CHECKING:
    from stuntdouble.arrayapi.messages import Personality, Reply, Request
    from stuntdouble.clock import Environment


class LocalDoor:
    """Lets requests in to a personality in the same process; nothing is recorded."""

    def __init__(self, personality: Personality, env: Environment) -> None:
        self._personality = personality
        self._env = env

    async def __call__(self, request: Request) -> Reply:
        """Return the answer; the request is interrupted with its caller."""
        return await perform(self._env, self._personality.handle(request))
