"""The options that `up` and `demo` share, and the one-line end of a stack that failed."""

from collections.abc import Callable
from pathlib import Path

import click

from ponder.cli.child import ChildExited
from ponder.cli.stack import StackError
from ponder.embedded_redis import EmbeddedRedisError

STACK_FAILURES = (StackError, EmbeddedRedisError, ChildExited)
"""What ends a stack with one line for the user."""

_MODEL = click.option(
    "--model",
    "model_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Hugging Face directory of the model.  [default: the one that is shipped]",
)
_CLASSIFIER = click.option(
    "--classifier",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The classifier, an ONNX file.  [default: the one that is shipped]",
)


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --model and --classifier as `model_dir` and `classifier`."""
    return _MODEL(_CLASSIFIER(command))
