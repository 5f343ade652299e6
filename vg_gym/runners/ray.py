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

from vg_gym.errors import VGGymError, importing
from vg_gym.runners.protocol import Factory, Item, Result

with importing("the ray runner", "Ray", "ray"):
    import ray
    from ray.exceptions import RayError, RayTaskError

RETRIES = 2
"""How often a piece of work is given to a new process after the one that did it died."""
START_WARNING_S = 60
"""Seconds without any started worker after which a warning says so."""


class RayRunner:
    """Workers that are started once, keep what they have built, and take the next piece when they are done with one.

    Ray is found as ``ray.init()`` finds it: the one that this process has initialised, else the cluster of
    ``RAY_ADDRESS`` or of ``ray start``, else a new one on this machine; :meth:`close` leaves what was there before as
    it was. A worker computes with as many torch threads as this process, because their number changes the last
    bits of a result. A process that dies is replaced, and its piece of work done again.

    Args:
        workers: processes, one CPU each; 0: one for each CPU. Those that find no free CPU wait until there is one.
    """

    _connected: ClassVar[set[RayRunner]] = set()
    """Those that use a Ray which was not there before them."""

    def __init__(self, workers: int = 0):
        self.workers = workers
        self._workers: list[Any] = []
        self._shared: dict[int, tuple[Callable, Any]] = {}

    def map(self, factory: Factory[Item, Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Yield (number of the item, result), first come first; see :class:`vg_gym.runners.Runner`.

        Raises:
            VGGymError: the cluster cannot be reached, or workers die again and again over the same piece.
        """
        if not items:
            return
        self._connect()
        workers, pending = self._started(len(items)), len(items)
        scheduler = _Scheduler(self._share(factory), items)
        for worker in workers:
            scheduler.await_start(worker)
        try:
            while pending:
                worker, number, result = scheduler.next()
                if isinstance(result, _Died):
                    scheduler.await_start(self._replace(worker))
                    scheduler.retry(number, result)
                    continue
                scheduler.dispatch(worker)
                if number is not None:
                    pending -= 1
                    yield number, result
        finally:
            if pending:  # an error, Ctrl-C, or a caller that wants no more: results under way are dropped
                self._kill(scheduler.busy())

    def close(self) -> None:
        """End the workers, and the connection to Ray where no other runner uses it and the user did not make it."""
        self._kill(list(self._workers))
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
            _check_reachable(os.environ.get("RAY_ADDRESS", ""))
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

    def _started(self, pieces: int) -> list[Any]:
        """Workers for so many pieces of work; more are started where there are too few."""
        wanted = min(self._limit(), pieces)
        if not self._workers:
            _warn_of_too_many_threads(wanted)
        while len(self._workers) < wanted:
            self._workers.append(self._start())
        return self._workers[:wanted]

    def _limit(self) -> int:
        return self.workers or max(1, _resource("CPU"))

    def _start(self) -> Any:
        """A new worker, with its share of the GPUs where there are any."""
        gpus = _resource("GPU")
        share = 1 / math.ceil(self._limit() / gpus) if gpus else 0
        actor: Any = _Worker
        return actor.options(num_cpus=1, num_gpus=share).remote(torch.get_num_threads(), os.getcwd())

    def _replace(self, worker: Any) -> Any:
        place = self._workers.index(worker)
        ray.kill(worker)
        self._workers[place] = self._start()
        return self._workers[place]

    def _kill(self, workers: list[Any]) -> None:
        for worker in workers:
            ray.kill(worker)
            self._workers.remove(worker)


@ray.remote
class _Worker:
    """One process: builds what a factory builds once, then works."""

    def __init__(self, threads: int, folder: str):
        torch.set_num_threads(threads)
        if os.path.isdir(folder):
            os.chdir(folder)  # relative paths mean what they mean to the user
        self._built: dict[Any, Callable] = {}

    def ready(self) -> None:
        """Return as soon as this process has a CPU."""

    def work(self, shared: list[Any], item: Any) -> Any:
        """Do a piece; ``shared`` holds the factory's reference, which as a bare argument would be fetched each time."""
        (reference,) = shared
        if reference not in self._built:
            self._built[reference] = ray.get(reference)()
        return self._built[reference](item)


class _Died(NamedTuple):
    """The result of a worker that died."""

    error: RayError


class _Scheduler:
    """Hands the pieces of one call of :meth:`RayRunner.map` to workers that are free."""

    def __init__(self, factory: Any, items: Sequence[Any]):
        self.factory, self.items = factory, items
        self.queue = deque(range(len(items)))
        self.calls: dict[Any, tuple[Any, int | None]] = {}
        """Reference of a result -> the worker that makes it, and the number of its piece (None: it is starting)."""
        self.deaths: Counter[int | None] = Counter()
        """Number of a piece (None: starting) -> how many workers died over it."""

    def await_start(self, worker: Any) -> None:
        """Make a call that the worker answers as soon as it has a CPU; before that it is given no piece."""
        self.calls[worker.ready.remote()] = worker, None

    def dispatch(self, worker: Any) -> None:
        """Give a worker the next piece, if there is one."""
        if self.queue:
            number = self.queue.popleft()
            self.calls[worker.work.remote([self.factory], self.items[number])] = worker, number

    def next(self) -> tuple[Any, int | None, Any]:
        """Wait for a worker; returns it, the number of its piece, and the result. Raises what the worker raised."""
        while not (done := ray.wait(list(self.calls), timeout=START_WARNING_S)[0]):
            if not self.busy():
                warnings.warn("no Ray worker has started yet: are all CPUs of the cluster in use?", stacklevel=3)
        worker, number = self.calls.pop(done[0])
        try:
            return worker, number, ray.get(done[0])
        except RayTaskError as error:  # a user's mistake is raised without the worker's traceback
            raise error.cause from (None if isinstance(error.cause, VGGymError) else error)
        except RayError as error:
            return worker, number, _Died(error)

    def busy(self) -> list[Any]:
        """Workers that are at a piece."""
        return [worker for worker, number in self.calls.values() if number is not None]

    def retry(self, number: int | None, died: _Died) -> None:
        """Put a piece whose worker died back at the front of the queue, :data:`RETRIES` times.

        Raises:
            VGGymError: too many workers died over it, or as they started.
        """
        self.deaths[number] += 1
        if self.deaths[number] > RETRIES * (len(self.calls) if number is None else 1):
            reason = " ".join(str(died.error).split())[:200]
            raise VGGymError(
                f"a Ray worker died {self.deaths[number]} times over one piece of work, often because memory ran out: "
                f"use fewer workers ({reason})"
            ) from died.error
        if number is not None:
            self.queue.appendleft(number)


def _check_reachable(address: str) -> None:
    """Raise an OSError where nothing listens at HOST:PORT; Ray itself would try for a quarter of an hour."""
    if host := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):
        socket.create_connection((host[1].strip("[]"), int(host[2])), timeout=10).close()


def _resource(name: str) -> int:
    """How many there are of something in the cluster."""
    return int(ray.cluster_resources().get(name, 0))


def _warn_of_too_many_threads(workers: int) -> None:
    threads, cpus = torch.get_num_threads(), _resource("CPU")
    if threads > 1 and workers * threads > cpus:
        warnings.warn(
            f"{workers} workers with {threads} threads each on {cpus} CPUs wait for each other: set OMP_NUM_THREADS=1",
            stacklevel=4,
        )
