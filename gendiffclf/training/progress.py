"""What a person sees while training runs."""

from __future__ import annotations

from collections.abc import Iterator

from tqdm.auto import tqdm


class Progress:
    """
    A bar over epochs with the loss, the validation score and the time left; silent for `verbose=0`.

    Parameters
    ----------
    verbose : int
        0 for silence, 1 for a bar that goes away, 2 for a bar that stays.
    """

    def __init__(self, verbose: int) -> None:
        self.verbose = verbose
        self._bar: tqdm | None = None

    def epochs(self, n_epochs: int) -> Iterator[int]:
        """Count epochs from 0."""
        with tqdm(
            range(n_epochs), desc="fit", unit="epoch", disable=not self.verbose, leave=self.verbose > 1
        ) as self._bar:
            yield from self._bar

    def report(self, **figures: float | None) -> None:
        """Show the figures of the epoch."""
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4f}" for name, value in figures.items() if value is not None})
