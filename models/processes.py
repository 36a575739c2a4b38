"""The processes of a training: one, or as many as ``torchrun`` has started, and the device that each computes on."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError, QdeployError

__all__ = ["Processes", "choose_device", "processes"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Processes:
    """This process among those of a training.

    Attributes:
        rank: of this process, 0 to ``count - 1``; 0 writes the files.
        count: of all processes.
        device: where this process computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and tells of progress."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process' rows of ``batch`` [B, ...], on its device: all processes' shares together are the batch."""
        return batch.tensor_split(self.count)[self.rank].to(self.device)

    def products_in(self, precision: str) -> torch.autocast:
        """A context in which products are made in ``precision``: ``bfloat16``, or ``float32`` as they are."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bfloat16")

    def wrapped(self, module: nn.Module) -> nn.Module:
        """``module`` with the first process' weights, whose backward pass leaves the mean of all gradients.

        With one process, the module as it is.
        """
        if self.count == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=devices)

    def sums(self, *values: float) -> tuple[float, ...]:
        """Each value summed over the processes, in float64; a NaN anywhere reaches all."""
        if self.count == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return tuple(total.tolist())

    def from_first(self, make: Callable[[], _T]) -> _T:
        """What ``make`` gives in the first process, in all of them; the others do not call it."""
        if self.count == 1:
            return make()
        box: list[_T | None] = [make() if self.first else None]
        distributed.broadcast_object_list(box, device=self.device)
        return box[0]  # type: ignore[return-value]  # after the broadcast it is the first process' value

    def check_equal(self, module: nn.Module) -> None:
        """Raises QdeployError unless the weights are the same bits in all processes.

        The averaged gradients are, and each process makes the same step of them; on processors of different kinds the
        step may be another one in the last bit, and the trainings would part unseen.
        """
        if self.count == 1:
            return
        mine = torch.cat([value.detach().flatten().float() for value in module.state_dict().values()])
        firsts = mine.clone()
        distributed.broadcast(firsts, src=0)
        (different,) = self.sums(float(not torch.equal(mine, firsts)))
        if different:
            raise QdeployError(
                f"the weights of {int(different)} of {self.count} processes are not those of the first one; train on machines "
                "of one kind, or with one process"
            )


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """``cpu``; ``cuda``, the GPU of the process' place on its machine; ``cuda:N``; ``auto``, a GPU where there is one.

    Raises:
        InvalidInputError: another name.
        MissingRequirementError: no such GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number.isdecimal() or name == kind):
        raise InvalidInputError(f"device={name!r}: expected auto, cpu, cuda or cuda:N")
    index = int(number) if number else local_rank
    if index >= torch.cuda.device_count():
        raise MissingRequirementError(
            f"device {kind}:{index}: PyTorch sees {torch.cuda.device_count()} GPUs here; leave --device out to train on "
            "the processor"
        )
    return torch.device("cuda", index)


def _disconnect() -> None:
    """Ends the connection, and its threads, which abort a process that leaves them to the end of the interpreter."""
    # Wrapped modules keep it alive, and are parts of reference cycles.
    gc.collect()
    if distributed.is_initialized():
        distributed.destroy_process_group()


def processes(device: str = "cpu") -> Processes:
    """This process alone, or its place among those that ``torchrun`` started, connected until it ends.

    Gradients and sums travel through gloo between processors and through NCCL between GPUs. A connection that is there
    already is used.

    Raises:
        InvalidInputError, MissingRequirementError: as ``choose_device``.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if count == 1:
        return Processes(0, 1, chosen)
    if not distributed.is_initialized():
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
            distributed.init_process_group("nccl", device_id=chosen)
        else:
            distributed.init_process_group("gloo")
        # Not after each training: a second connection would meet the first one's addresses in torchrun's store.
        atexit.register(_disconnect)
    return Processes(distributed.get_rank(), distributed.get_world_size(), chosen)
