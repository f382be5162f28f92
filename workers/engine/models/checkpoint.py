"""The tensors of a Hugging Face directory, read one at a time: safetensors, single or sharded.

A tensor goes straight to where it is wanted, so that loading needs no second copy of the weights.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from workers.engine.errors import CheckpointError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Checkpoint:
    """Tensors by name; remembers which were read. A context manager: it holds the files open."""

    def __init__(self, model_dir: Path) -> None:
        """Open every file that holds tensors; raises CheckpointError."""
        self._model_dir = model_dir
        self._files = ExitStack()
        self._holders: dict[str, Any] = {}  # unread tensors and their open files
        with ExitStack() as on_error:
            on_error.callback(self._files.close)
            for name, expected in _weight_files(model_dir).items():
                self._open(model_dir / name, expected)
            on_error.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def read(self, name: str, destination: Tensor) -> None:
        """Copy a tensor of the shape of `destination` into it; raises CheckpointError."""
        holder = self._holders.pop(name, None)
        if holder is None:
            raise CheckpointError(f"{self._model_dir}: tensor {name} is missing")
        with _reading(self._model_dir):
            tensor = holder.get_tensor(name)
        if tensor.dtype not in _DTYPES:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{self._model_dir}: tensor {name} is {kind}; only float32, bfloat16 and float16 "
                "weights are supported, not quantised ones"
            )
        if tensor.shape != destination.shape:
            raise CheckpointError(
                f"{self._model_dir}: tensor {name} has shape {tuple(tensor.shape)}, "
                f"config.json implies {tuple(destination.shape)}"
            )
        destination.copy_(tensor)

    @property
    def unread(self) -> list[str]:
        """Names of the tensors that nobody asked for."""
        return sorted(self._holders)

    def _open(self, path: Path, expected: frozenset[str] | None) -> None:
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file, though {INDEX_FILE} names it")
        with _reading(path):
            file = self._files.enter_context(safe_open(path, framework="pt"))
        found = frozenset(file.keys())
        if expected is not None and found != expected:
            difference = min(found ^ expected)
            raise CheckpointError(f"{path}: does not hold what {INDEX_FILE} says, see {difference}")
        self._holders.update(dict.fromkeys(found, file))


def read_json(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file; raises CheckpointError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object")
    return content


def _weight_files(model_dir: Path) -> dict[str, frozenset[str] | None]:
    """File name to the tensors it should hold; None: the file alone says."""
    if (model_dir / SINGLE_FILE).is_file():
        return {SINGLE_FILE: None}
    index = model_dir / INDEX_FILE
    if not index.is_file():
        raise CheckpointError(f"{model_dir}: neither {SINGLE_FILE} nor {INDEX_FILE} is there")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: has no weight_map")
    files: dict[str, set[str]] = {}
    for tensor, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise CheckpointError(f"{index}: {tensor} must be in a file beside it, not {file!r}")
        files.setdefault(file, set()).add(tensor)
    return {file: frozenset(tensors) for file, tensors in files.items()}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors: {error}") from None
