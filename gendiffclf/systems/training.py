"""Training of a module on clips of different lengths by `transformers.Trainer`, with checkpoints to resume from."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ..device import in_process_group
from ..optional import require
from .collation import collate

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

COMPLETE = "complete"
"""File that is written to each checkpoint last; a checkpoint without it is incomplete."""
# Environment variables that a launcher such as torchrun sets, and accelerate reads.
GROUP_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def train_module(
    module: nn.Module,
    examples: Sequence[Mapping[str, Any]],
    *,
    device: torch.device,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
    distributed: bool = False,
    verbose: int = 0,
    **arguments: Any,
) -> list[float]:
    """
    Train a module in place, and return its mean training loss of each epoch.

    Parameters
    ----------
    module : Module
        `forward(**batch)` takes the output of `collate` and returns a dict with "loss", a scalar. Parameters with
        `requires_grad=False` are not trained. If the module has an attribute `epoch`, it is set to the number of the epoch,
        from 0. The module is moved to `device`.
    examples : sequence of mappings
        In memory, or a dataset of torch that reads them.
    device : torch.device
        In a distributed group on CUDA, each process uses a device of its own instead.
    seed : int
        Seed of the order of examples and of dropout; the global random states are restored afterwards.
    folder : path-like, optional
        Folder for a checkpoint after each epoch, of which the latest two are kept. If it has a complete one, training
        resumes from it and ends with the same weights as without interruption; so use one folder per training, as from
        `checkpoint_folder`. None writes no checkpoints.
    distributed : bool
        Train with the other processes of a launched group (`torchrun`).
    verbose : int
        If nonzero, show a progress bar with the time left.
    **arguments
        Of `transformers.TrainingArguments`, such as `learning_rate`. `dataloader_drop_last` has no effect if there is no
        complete batch.

    An ImportError without transformers and accelerate, a FloatingPointError if the loss is not finite.
    """
    for package in ("accelerate", "transformers"):
        require(package, "finetune")
    with contextlib.ExitStack() as stack:
        # The Trainer seeds the global random states.
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
        stack.enter_context(torch.random.fork_rng(devices=range(torch.cuda.device_count())))
        logging = require("transformers.utils.logging", "finetune")
        stack.callback(logging.set_verbosity, logging.get_verbosity())
        logging.set_verbosity_error()
        stack.enter_context(_process_group(distributed))
        stack.enter_context(_cuda_device(device, distributed))
        output = folder if folder is not None else stack.enter_context(tempfile.TemporaryDirectory())
        saving = "no" if folder is None else "epoch"
        trainer = _trainer(
            module, examples, device, verbose, output_dir=str(output), save_strategy=saving, seed=seed, **arguments
        )
        trainer.train(resume_from_checkpoint=None if folder is None else last_checkpoint(folder))
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if losses and not np.isfinite(losses).all():
        raise FloatingPointError(
            f"Got a training loss of {losses[-1]}, expected a finite one; lower learning_rate "
            f"({trainer.args.learning_rate})."
        )
    return losses


def last_checkpoint(folder: str | os.PathLike[str]) -> str | None:
    """Path of the last complete checkpoint below `folder`, or None."""
    complete = [path.parent for path in Path(folder).glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(complete, key=lambda path: int(path.name.split("-")[1]))) if complete else None


def _trainer(module: nn.Module, examples: Any, device: torch.device, verbose: int, **changes: Any) -> Trainer:
    from transformers import PrinterCallback, Trainer, TrainingArguments

    arguments = TrainingArguments(
        dataloader_pin_memory=device.type == "cuda",
        use_cpu=device.type == "cpu",
        ddp_find_unused_parameters=False,
        save_total_limit=2,
        logging_strategy="epoch",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=[],
        **changes,
    )
    # Otherwise the Trainer would split a batch over all visible devices.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    # Each process of a group takes a batch; an epoch with no complete ones would be empty.
    complete = len(examples) >= arguments.per_device_train_batch_size * arguments.world_size
    arguments.dataloader_drop_last = arguments.dataloader_drop_last and complete
    callbacks = [_callback(module, verbose)]
    trainer = Trainer(module, arguments, data_collator=collate, train_dataset=examples, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _callback(module: nn.Module, verbose: int) -> TrainerCallback:
    """Sets the module's attribute `epoch`, marks checkpoints as complete, and shows a progress bar of updates."""
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            hidden = not verbose or not state.is_world_process_zero
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="update", disable=hidden)

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if hasattr(module, "epoch"):
                setattr(module, "epoch", int(state.epoch + 1e-6))  # noqa: B010 (mypy rejects the plain assignment)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.update()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                self.bar.set_postfix(epoch=round(state.epoch), loss=f"{logs['loss']:.4f}")

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.is_world_process_zero:
                Path(args.output_dir, f"checkpoint-{state.global_step}", COMPLETE).touch()

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.close()

    return Callback()


@contextlib.contextmanager
def _process_group(distributed: bool) -> Iterator[None]:
    """
    Join the launched group if `distributed`; otherwise hide it, so that each process may train a model of its own.

    A group that the Trainer starts is kept for later trainings and left at exit, since leaving it during interpreter
    shutdown can abort the process.
    """
    from accelerate.state import AcceleratorState

    if distributed:
        joined_before = in_process_group()
        yield
        if in_process_group() and not joined_before:
            atexit.register(_leave_group)
        return
    hidden = {name: os.environ.pop(name) for name in GROUP_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
        AcceleratorState._reset_state(reset_partial_state=True)


def _leave_group() -> None:
    if in_process_group():
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _cuda_device(device: torch.device, distributed: bool) -> Iterator[None]:
    """Make the Trainer use the requested CUDA device instead of the first."""
    from accelerate.utils import patch_environment

    if distributed or device.type != "cuda" or "ACCELERATE_TORCH_DEVICE" in os.environ:
        yield
        return
    with patch_environment(ACCELERATE_TORCH_DEVICE=device), torch.cuda.device(device):
        yield
