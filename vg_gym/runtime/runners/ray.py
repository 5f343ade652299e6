"""Runner of tasks on Ray: one worker process per CPU, on this machine or on all machines of a cluster."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch

from vg_gym.errors import VGGymError, importing, one_line

with importing("the ray runner", "Ray", "ray"):
    import ray
    from ray.exceptions import RayError, RayTaskError

RETRIES = 2
"""Number of new attempts at a task after its worker process dies, which Ray itself starts again."""
START_WARNING_S = 60
"""Seconds without a started worker before a warning."""


class RayRunner:
    """Runner on Ray workers, which start once, keep their state, and take the next task when one is done.

    The runner uses the Ray instance that this process has initialised, or else the cluster of ``RAY_ADDRESS`` or
    ``ray start``, or else a new instance on this machine. :meth:`close` shuts down only an instance that a runner
    started. A worker uses as many torch threads as this process, because their number changes the last bits of a
    result. Ray restarts a worker that dies, and runs its task again.

    Args:
        workers: number of processes, one CPU each; 0: one per CPU. Workers without a free CPU wait for one.
    """

    _connected: ClassVar[set[RayRunner]] = set()
    """Open runners that use a connection to Ray which a runner made."""

    def __init__(self, workers: int = 0):
        self.workers = workers
        self._workers: list[Any] = []
        self._shared: dict[int, tuple[Callable, Any]] = {}

    def map(self, factory: Callable[[], Callable], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield (number of the item, result) as tasks complete; see :class:`vg_gym.runtime.runners.Runner`.

        Raises:
            VGGymError: the cluster cannot be reached, or workers die repeatedly on the same task.
        """
        if not items:
            return
        self._connect()
        busy: dict[Any, tuple[Any, int]] = {}
        tasks = deque(enumerate(items))
        starting = {worker.ready.remote(): worker for worker in self._started(len(items))}  # these wait for a CPU
        shared = [self._share(factory)]
        try:
            while tasks or busy:
                call = _first_of([*starting, *busy], bool(busy))
                worker, number = busy.pop(call) if call in busy else (starting.pop(call), None)
                result = _result_of(call)
                if tasks:
                    next_number, item = tasks.popleft()
                    busy[worker.work.remote(shared, item)] = worker, next_number
                if number is not None:
                    yield number, result
        finally:  # after an error, Ctrl-C or an early exit of the caller, running tasks are dropped
            self._kill([worker for worker, _ in busy.values()])

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
        options = actor.options(num_cpus=1, num_gpus=share, max_restarts=-1, max_task_retries=RETRIES)
        return options.remote(torch.get_num_threads(), os.getcwd())

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


def _first_of(calls: list[Any], are_some_started: bool) -> Any:
    """Wait for the first call that returns, and warn if no worker gets a CPU."""
    while not (done := ray.wait(calls, timeout=START_WARNING_S)[0]):
        if not are_some_started:
            warnings.warn("no Ray worker has started yet: are all CPUs of the cluster in use?", stacklevel=3)
    return done[0]


def _result_of(call: Any) -> Any:
    """Return the result of a call.

    Raises:
        VGGymError: the worker died in all attempts.
    """
    try:
        return ray.get(call)
    except RayTaskError as error:  # an error of the user is raised without the worker's traceback
        raise error.cause from (None if isinstance(error.cause, VGGymError) else error)
    except RayError as error:
        raise VGGymError(
            f"a Ray worker died {RETRIES + 1} times over one piece of work, often because memory ran out: use fewer "
            f"workers ({one_line(error)})"
        ) from error


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
