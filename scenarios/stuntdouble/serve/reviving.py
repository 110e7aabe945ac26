"""How a site comes about: built, prepared, and led to the instant of a checkpoint."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stuntdouble.clock import Environment, VirtualLoop
from stuntdouble.errors import Misuse, NoSpace, Unsupported
from stuntdouble.scenarios.build import World, build, prepare
from stuntdouble.scenarios.loading import parse
from stuntdouble.serve.inputs import Input, Play, play

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.iops import Recorded
    from stuntdouble.results import EngineName
    from stuntdouble.scenarios.spec import Scenario

T = TypeVar("T")

FORMAT: Final = "stuntdouble-checkpoint-1"


@dataclass(frozen=True)
class Origin:
    """What a site is made of; *recorded* is the trace that its VMs replay, if they do."""

    scenario: Scenario
    seed: int
    engine: EngineName = "kernel"
    recorded: Recorded | None = None

    def __post_init__(self) -> None:
        if self.scenario.trace_vms and self.recorded is None:
            vm = self.scenario.trace_vms[0].name
            text = f"VM {vm} replays a trace: name one by --trace FILE"
            raise Misuse(f"scenario {self.scenario.name}", text)


def made(origin: Origin) -> World:
    """Return a site in which all is as the scenario says it was before, and the VMs run.

    It has lived in virtual time until then, so it is the same whatever machine it is made on.

    Raises:
        Misuse: it has no room for that.
    """
    env = Environment()
    loop = VirtualLoop(env)  # type: ignore[abstract]  # the stubs call abstract what it refuses

    async def main() -> World:
        world = build(origin.scenario, origin.seed, env, origin.recorded, origin.engine)
        await prepare(world)
        return world

    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(main())
    except NoSpace as error:
        scenario = f"scenario {origin.scenario.name}"
        raise Misuse(scenario, f"has no room for what is there at the start: {error}") from None


def revived(origin: Origin, doors: dict[str, Play], inputs: list[Input], seconds: float) -> World:
    """Return a site that has lived through *inputs* until *seconds*; nothing drives it yet."""
    world = made(origin)
    play(world, doors, inputs, seconds)
    return world


def described(origin: Origin, inputs: list[Input], seconds: float) -> dict[str, Any]:
    """Return a checkpoint as JSON: what ``understood`` takes."""
    return {
        "format": FORMAT,
        "version": version("stuntdouble"),
        "scenario": origin.scenario.model_dump(mode="json", exclude_unset=True),
        "seed": origin.seed,
        "engine": origin.engine,
        "seconds": seconds,
        "inputs": [{"seconds": i.seconds, "door": i.door, "payload": i.payload} for i in inputs],
    }


def understood(
    checkpoint: dict[str, Any], recorded: Recorded | None
) -> tuple[Origin, list[Input], float]:
    """Return what a checkpoint says.

    Raises:
        Misuse: it makes no sense.
        Unsupported: another version took it, and would not live through it in the same way.
    """
    if checkpoint["version"] != version("stuntdouble"):
        text = f"take and restore it by one version; this one is {version('stuntdouble')}"
        raise Unsupported(f"a checkpoint of version {checkpoint['version']}", text)
    scenario = parse(checkpoint["scenario"], "checkpoint: scenario")
    trace = recorded if scenario.trace_vms else None
    origin = Origin(scenario, checkpoint["seed"], checkpoint["engine"], trace)
    inputs = [Input(i["seconds"], i["door"], i["payload"]) for i in checkpoint["inputs"]]
    return origin, inputs, checkpoint["seconds"]


async def in_thread(work: Callable[[], T]) -> T:
    """Return what *work* returns, done beside the loop; a process that ends does not wait for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # it is a T where there is no error

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  (told to whoever waits)
            failed = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, result, failed)

    threading.Thread(target=run, name="reviving a site", daemon=True).start()
    return await done
