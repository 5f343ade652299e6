"""Pieces of work on Ray: one worker process a CPU, on this machine or on all machines of a cluster."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import torch

from vg_gym.errors import VGGymError
from vg_gym.runners.protocol import Factory, Item, Result

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as error:
    raise VGGymError('the ray runner needs Ray: pip install -e ".[ray]"') from error

RETRIES = 2
"""How often a piece of work is given to a new process after the one that did it died."""
PATIENCE = 60
"""Seconds to wait for the first worker before it is said that one waits."""


class RayRunner:
    """Workers that are started once, keep what they have built, and take the next piece when they are done with one.

    Ray is found as ``ray.init()`` finds it: the one that this process has initialised, else the cluster of
    ``RAY_ADDRESS`` or of ``ray start``, else a new one on this machine; :meth:`close` leaves what was there before as
    it was. A worker computes with as many torch threads as this process, because their number can be seen in the last
    bits of a result. A process that dies is replaced, and its piece of work done again.

    Args:
        workers: processes, one CPU each; 0: one for each CPU. Those that find no free CPU wait until there is one.
    """

    _connected: ClassVar[set[RayRunner]] = set()
    """Those that use a Ray which was not there before them."""

    def __init__(self, workers: int = 0):
        self.workers = workers
        self._actors: list[Any] = []
        self._shared: dict[int, tuple[Callable, Any]] = {}

    def map(self, factory: Factory[Item, Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Yield (number of the item, result), first come first; see :class:`vg_gym.runners.Runner`.

        Raises:
            VGGymError: the cluster cannot be reached, or workers die again and again over the same piece.
        """
        if not items:
            return
        self._connect()
        actors, left = self._staff(len(items)), len(items)
        desk = _Desk(self._share(factory), items)
        for actor in actors:
            desk.greet(actor)
        try:
            while left:
                actor, number, answer = desk.next()
                if isinstance(answer, _Died):
                    desk.greet(self._replace(actor))
                    desk.again(number, answer)
                    continue
                desk.give(actor)
                if number is not None:
                    left -= 1
                    yield number, answer
        finally:
            if left:  # an error, Ctrl-C, or a caller that wants no more: nobody needs what is being done now
                self._dismiss(desk.busy())

    def close(self) -> None:
        """End the workers, and the connection to Ray where no other runner uses it and the user did not make it."""
        self._dismiss(list(self._actors))
        self._shared.clear()
        if self in self._connected:
            self._connected.remove(self)
            if not self._connected:
                ray.shutdown()

    def _connect(self) -> None:
        if ray.is_initialized():
            if self._connected:
                self._connected.add(self)
            return
        try:
            _knock(os.environ.get("RAY_ADDRESS", ""))
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError) as error:
            reason = str(error.__cause__ or error).strip().splitlines()[-1][:200]
            raise VGGymError(
                f"no Ray ({reason}): correct RAY_ADDRESS, set RAY_AUTH_MODE=token for a cluster that wants one, or "
                "unset both to use this machine"
            ) from error
        self._connected.add(self)

    def _share(self, factory: Callable) -> Any:
        """The factory as an object of the cluster, put there once."""
        if id(factory) not in self._shared:
            self._shared[id(factory)] = factory, ray.put(factory)  # kept, so that its id stays its own
        return self._shared[id(factory)][1]

    def _staff(self, pieces: int) -> list[Any]:
        """Workers for so many pieces of work, hired where there are too few."""
        wanted = min(self._wanted(), pieces)
        if not self._actors:
            _check_threads(wanted)
        while len(self._actors) < wanted:
            self._actors.append(self._hire())
        return self._actors[:wanted]

    def _wanted(self) -> int:
        return self.workers or max(1, _resource("CPU"))

    def _hire(self) -> Any:
        """A new worker, with its share of the GPUs where there are any."""
        gpus = _resource("GPU")
        share = 1 / math.ceil(self._wanted() / gpus) if gpus else 0
        actor: Any = _Worker
        return actor.options(num_cpus=1, num_gpus=share).remote(torch.get_num_threads(), os.getcwd())

    def _replace(self, actor: Any) -> Any:
        place = self._actors.index(actor)
        ray.kill(actor)
        self._actors[place] = self._hire()
        return self._actors[place]

    def _dismiss(self, actors: list[Any]) -> None:
        for actor in actors:
            ray.kill(actor)
            self._actors.remove(actor)


@ray.remote
class _Worker:
    """One process: builds what a factory builds once, then works."""

    def __init__(self, threads: int, folder: str):
        torch.set_num_threads(threads)
        if os.path.isdir(folder):
            os.chdir(folder)  # relative paths mean what they mean to the user
        self._built: dict[Any, Callable] = {}

    def ready(self) -> None:
        """Answer."""

    def work(self, shared: list[Any], item: Any) -> Any:
        """Do a piece; ``shared`` holds the factory's reference, which as a bare argument would be fetched each time."""
        (reference,) = shared
        if reference not in self._built:
            self._built[reference] = ray.get(reference)()
        return self._built[reference](item)


class _Died(NamedTuple):
    """A worker's last answer."""

    error: RayError


class _Desk:
    """Hands the pieces of one call of :meth:`RayRunner.map` to whoever is free."""

    def __init__(self, shared: Any, items: Sequence[Any]):
        self.shared, self.items = shared, items
        self.waiting = deque(range(len(items)))
        self.calls: dict[Any, tuple[Any, int | None]] = {}
        self.deaths: Counter[int] = Counter()

    def greet(self, actor: Any) -> None:
        """A call that a worker answers as soon as it has a CPU; before that it is not given anything."""
        self.calls[actor.ready.remote()] = actor, None

    def give(self, actor: Any) -> None:
        """The next piece, if there is one."""
        if self.waiting:
            number = self.waiting.popleft()
            self.calls[actor.work.remote([self.shared], self.items[number])] = actor, number

    def next(self) -> tuple[Any, int | None, Any]:
        """Who is free, the number of the piece that it was given, and its result; raises what the worker raised."""
        while not (found := ray.wait(list(self.calls), timeout=PATIENCE)[0]):
            if not self.busy():
                warnings.warn("no Ray worker has started yet: are all CPUs of the cluster in use?", stacklevel=3)
        done = found[0]
        actor, number = self.calls.pop(done)
        try:
            return actor, number, ray.get(done)
        except RayTaskError as error:  # a user's mistake is told without the traceback of the worker
            raise error.cause from (None if isinstance(error.cause, VGGymError) else error)
        except RayError as error:
            return actor, number, _Died(error)

    def busy(self) -> list[Any]:
        """Those that are at a piece."""
        return [actor for actor, number in self.calls.values() if number is not None]

    def again(self, number: int | None, died: _Died) -> None:
        """A piece whose worker died is the next one, some times."""
        piece = -1 if number is None else number
        self.deaths[piece] += 1
        if self.deaths[piece] > RETRIES * (1 if piece >= 0 else len(self.calls)):
            reason = " ".join(str(died.error).split())[:200]
            raise VGGymError(
                f"a Ray worker died {self.deaths[piece]} times over one piece of work, often for want of memory: "
                f"use fewer workers ({reason})"
            ) from died.error
        if number is not None:
            self.waiting.appendleft(number)


def _knock(address: str) -> None:
    """Raise an OSError where nobody listens at HOST:PORT; Ray itself would try for a quarter of an hour."""
    if host := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):
        socket.create_connection((host[1].strip("[]"), int(host[2])), timeout=10).close()


def _resource(name: str) -> int:
    """How many there are of something in the cluster."""
    return int(ray.cluster_resources().get(name, 0))


def _check_threads(workers: int) -> None:
    threads, cpus = torch.get_num_threads(), _resource("CPU")
    if threads > 1 and workers * threads > cpus:
        warnings.warn(
            f"{workers} workers with {threads} threads each on {cpus} CPUs wait for each other: set OMP_NUM_THREADS=1",
            stacklevel=4,
        )
