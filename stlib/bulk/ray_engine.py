"""Shards over Ray: actors that hold the model, and read and write whole shards themselves.

A plain pool of actors, not Ray Data, whose readers cut files into blocks and whose writers make files of blocks, while
here one shard in is one shard out. So `encode_shard` serves as it is, and only names pass through the driver.
"""

from __future__ import annotations

import copy
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from stlib.bulk.shards import Outcome, Shard
from stlib.files import first_line

TRIES = 3  # of a shard whose worker died, or could not read or write


class Worker:
    """One process of the pool."""

    def __init__(self, work: partial[Outcome]) -> None:
        self.work = work
        self.work.keywords["encoder"].model.to("cuda" if torch.cuda.is_available() else "cpu")

    def run(self, shard: Shard | None) -> Outcome | None:
        """The outcome of a shard; without one, only the sign that this worker is up."""
        return self.work(shard)._replace(node=ray.get_runtime_context().get_node_id()) if shard else None


def encode_over_ray(
    shards: list[Shard], work: partial[Outcome], address: str | None, actors: int | None
) -> Iterator[Outcome]:
    """The outcome of each shard, as they come in.

    Args:
        work: `encode_shard` with everything but the shard.
        address: of a cluster whose machines have stlib and see the shards under the same addresses; `None` starts
            Ray on this machine. What was started here is stopped at the end.
        actors: processes, each with its copy of the model; `None` takes one a GPU, or one a processor without GPUs.

    Raises:
        OSError: Ray cannot be started or reached, or no worker stays alive.
    """
    own = not ray.is_initialized()
    if own:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # Ray raises bare ones here
            hint = "; where it wants a token, set RAY_AUTH_MODE=token" if address else ""
            raise OSError(f"no Ray at address={address!r} ({first_line(error)}{hint})") from error
    try:
        gpus, processors = (int(ray.cluster_resources().get(name, 0)) for name in ("GPU", "CPU"))
        portable = copy.deepcopy(work)
        portable.keywords["encoder"].model.to("cpu")
        stored = ray.put(portable)
        kind = ray.remote(num_cpus=1, num_gpus=min(gpus, 1), scheduling_strategy="SPREAD")(Worker)
        yield from _pool(lambda: kind.remote(stored), min(actors or gpus or processors, len(shards)), shards)
    finally:
        if own:
            ray.shutdown()


def _pool(hire: Callable[[], Any], size: int, shards: list[Shard]) -> Iterator[Outcome]:
    """Each idle worker gets the next shard. One that dies is replaced, and its shard goes to whoever is free."""
    waiting, tries, left = deque(shards), Counter[Shard](), len(shards)
    idle: list[Any] = []
    promises: dict[Any, tuple[Any, Shard | None]] = {}  # what each worker will return, and on which shard it is

    def give(worker: Any, shard: Shard | None) -> None:
        promises[worker.run.remote(shard)] = worker, shard

    for _ in range(size):
        give(hire(), None)
    while left:
        while idle and waiting:
            give(idle.pop(), waiting.popleft())
        (promise,), _ = ray.wait(list(promises))
        worker, shard = promises.pop(promise)
        try:
            outcome = ray.get(promise)
            idle.append(worker)
        except RayError as error:
            if shard:
                give(hire(), None)
            elif not promises and not idle:  # one that dies on its way up is not replaced: its successor would, too
                raise OSError(f"no Ray worker stays alive: {first_line(error)}") from error
            outcome = shard and Outcome(shard, error=OSError(f"its worker died: {first_line(error)}"))
        if shard:
            tries[shard] += 1
            if outcome.error and not isinstance(outcome.error, ValueError) and tries[shard] < TRIES:
                waiting.append(shard)
            else:
                left -= 1
                yield outcome
