"""The default classifier of another checkout of the package, in a process of its own that takes turns with this one."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

BASELINE = "baseline"
_CODE = """
import pickle, sys, time, warnings
answers, sys.stdout = sys.stdout.buffer, sys.stderr
import gendiffclf
from gendiffclf import GenerativeTransportClassifier

def fit(X, y, parameters):
    global model
    model = GenerativeTransportClassifier(random_state=0, **parameters)
    return timed(lambda: model.fit(X, y))

def call(method, X, repeats):
    return [timed(lambda: getattr(model, method)(X))[0] for _ in range(repeats)]

def probabilities(X):
    return model.predict_proba(X)

def timed(function):
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor

warnings.simplefilter("ignore")
answer = gendiffclf.__file__
while True:
    pickle.dump(answer, answers)
    answers.flush()
    name, arguments = pickle.load(sys.stdin.buffer)
    answer = {"fit": fit, "call": call, "probabilities": probabilities}[name](*arguments)
"""


class Baseline:
    """
    A context in which the process waits for calls.

    Parameters
    ----------
    folder : Path
        A checkout, with `gendiffclf` in it.

    Raises
    ------
    ValueError
        If the package is not there.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "gendiffclf" / "__init__.py").is_file():
            raise ValueError(f"Got --baseline {folder.name} without the package, expected a checkout with gendiffclf/.")
        self.folder = folder.resolve()

    def __enter__(self) -> Self:
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        command = [sys.executable, "-c", _CODE]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=self.folder
        )
        try:
            where = Path(self._answer())
            if self.folder not in where.parents:
                raise RuntimeError(f"Got gendiffclf from {where}, expected the checkout {self.folder}.")
        except RuntimeError:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def fit(self, X: np.ndarray, y: np.ndarray, **parameters: Any) -> tuple[float, float]:
        """Fit the default classifier but for some parameters; wall and processor seconds."""
        self._send("fit", X, y, parameters)
        return self._answer()

    def call(self, method: str, X: np.ndarray, repeats: int) -> list[float]:
        """Seconds of each of some calls of a method of the fitted classifier."""
        self._send("call", method, X, repeats)
        return self._answer()

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        """What `predict_proba` of the fitted classifier returns."""
        self._send("probabilities", X)
        return self._answer()

    def _send(self, name: str, *arguments: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump((name, arguments), self._process.stdin)
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except EOFError as error:
            raise RuntimeError("Got no answer from the baseline's process; its error is above.") from error
