"""Runner of tasks on Ray: one worker process per CPU, on this machine or on all machines of a cluster."""

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
from vg_gym.runtime.runners.protocol import Factory, Item, Result

with importing("the ray runner", "Ray", "ray"):
    import ray
    from ray.exceptions import RayError, RayTaskError

RETRIES = 2
"""Number of new attempts at a task after its worker process dies."""
START_WARNING_S = 60
"""Seconds without a started worker before a warning."""


class RayRunner:
    """Runner on Ray workers, which start once, keep their state, and take the next task when one is done.

    The runner uses the Ray instance that this process has initialised, or else the cluster of ``RAY_ADDRESS`` or
    ``ray start``, or else a new instance on this machine. :meth:`close` shuts down only an instance that a runner
    started. A worker uses as many torch threads as this process, because their number changes the last bits of a
    result. A worker that dies is replaced, and its task runs again.

    Args:
        workers: number of processes, one CPU each; 0: one per CPU. Workers without a free CPU wait for one.
    """

    _connected: ClassVar[set[RayRunner]] = set()
    """Open runners that use a connection to Ray which a runner made."""

    def __init__(self, workers: int = 0):
        self.workers = workers
        self._workers: list[Any] = []
        self._shared: dict[int, tuple[Callable, Any]] = {}

    def map(self, factory: Factory[Item, Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Yield (number of the item, result) as tasks complete; see :class:`vg_gym.runtime.runners.Runner`.

        Raises:
            VGGymError: the cluster cannot be reached, or workers die repeatedly on the same task.
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
            if pending:  # after an error, Ctrl-C or an early exit of the caller, running tasks are dropped
                self._kill(scheduler.busy())

    def close(self) -> None:
        """Stop the workers, and close a connection that a runner made if no other runner uses it."""
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
        """Return the factory as an object of the cluster, uploaded once."""
        if id(factory) not in self._shared:
            self._shared[id(factory)] = factory, ray.put(factory)  # the reference keeps the id from being reused
        return self._shared[id(factory)][1]

    def _started(self, pieces: int) -> list[Any]:
        """Return the workers for a number of tasks, after starting new ones if there are too few."""
        count = min(self._limit(), pieces)
        if not self._workers:
            _warn_of_too_many_threads(count)
        while len(self._workers) < count:
            self._workers.append(self._start())
        return self._workers[:count]

    def _limit(self) -> int:
        return self.workers or max(1, _resource("CPU"))

    def _start(self) -> Any:
        """Start a worker, with its share of the GPUs if there are any."""
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
    """Worker process, which calls each factory once and then executes tasks."""

    def __init__(self, threads: int, folder: str):
        torch.set_num_threads(threads)
        if os.path.isdir(folder):
            os.chdir(folder)  # so that relative paths resolve as in the user's process
        self._built: dict[Any, Callable] = {}

    def ready(self) -> None:
        """Return as soon as this process gets a CPU."""

    def work(self, shared: list[Any], item: Any) -> Any:
        """Execute a task.

        Args:
            shared: list with the reference of the factory; Ray would fetch a bare reference at each call.
            item: input of the task.
        """
        (reference,) = shared
        if reference not in self._built:
            self._built[reference] = ray.get(reference)()
        return self._built[reference](item)


class _Died(NamedTuple):
    """Result of a worker that died."""

    error: RayError


class _Scheduler:
    """Scheduler that gives the tasks of one call of :meth:`RayRunner.map` to free workers."""

    def __init__(self, factory: Any, items: Sequence[Any]):
        self.factory, self.items = factory, items
        self.queue = deque(range(len(items)))
        self.calls: dict[Any, tuple[Any, int | None]] = {}
        """Reference of a result -> worker that computes it, and number of its task (None: the worker is starting)."""
        self.deaths: Counter[int | None] = Counter()
        """Number of a task (None: start of a worker) -> number of workers that died during it."""

    def await_start(self, worker: Any) -> None:
        """Call a worker's ``ready``, which returns when it gets a CPU; until then it receives no task."""
        self.calls[worker.ready.remote()] = worker, None

    def dispatch(self, worker: Any) -> None:
        """Give a worker the next task, if one is left."""
        if self.queue:
            number = self.queue.popleft()
            self.calls[worker.work.remote([self.factory], self.items[number])] = worker, number

    def next(self) -> tuple[Any, int | None, Any]:
        """Wait for a worker, and return it with the number of its task and the result, or raise the task's error."""
        while not (done := ray.wait(list(self.calls), timeout=START_WARNING_S)[0]):
            if not self.busy():
                warnings.warn("no Ray worker has started yet: are all CPUs of the cluster in use?", stacklevel=3)
        worker, number = self.calls.pop(done[0])
        try:
            return worker, number, ray.get(done[0])
        except RayTaskError as error:  # an error of the user is raised without the worker's traceback
            raise error.cause from (None if isinstance(error.cause, VGGymError) else error)
        except RayError as error:
            return worker, number, _Died(error)

    def busy(self) -> list[Any]:
        """Return the workers that execute a task."""
        return [worker for worker, number in self.calls.values() if number is not None]

    def retry(self, number: int | None, died: _Died) -> None:
        """Put the task of a dead worker back at the front of the queue, at most :data:`RETRIES` times.

        Raises:
            VGGymError: too many workers died during the task or while they started.
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
    """Raise an OSError if nothing listens at HOST:PORT; Ray itself would try for a quarter of an hour."""
    if host := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):
        socket.create_connection((host[1].strip("[]"), int(host[2])), timeout=10).close()


def _resource(name: str) -> int:
    """Return the amount of a resource in the cluster."""
    return int(ray.cluster_resources().get(name, 0))


def _warn_of_too_many_threads(workers: int) -> None:
    threads, cpus = torch.get_num_threads(), _resource("CPU")
    if threads > 1 and workers * threads > cpus:
        warnings.warn(
            f"{workers} workers with {threads} threads each on {cpus} CPUs wait for each other: set OMP_NUM_THREADS=1",
            stacklevel=4,
        )
