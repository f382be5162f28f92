"""python -m router.openai: the OpenAI-compatible front door; --help lists its variables."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from ponder.environment import ConfigError, help_text
from ponder.logs import configure_logging
from router.openai.config import DoorConfig

_FAILED, _MISCONFIGURED = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; an error is one line on standard error."""
    _parser().parse_args(arguments)
    try:
        config = DoorConfig.from_env(os.environ)
    except ConfigError as error:
        return _fail(error, _MISCONFIGURED)
    configure_logging(config.log_level, config.log_format)
    return _run(config)


def _run(config: DoorConfig) -> int:
    # gRPC's core writes lines of its own; what it has to say arrives as statuses and exceptions.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        # Here, after that was set, and so that a wrong variable is told at once.
        from ponder.rpc import BindError
        from router.openai.server import bind, run
    except ModuleNotFoundError as error:
        return _fail(f"{error}; install ponder[openai]", _FAILED)
    try:
        listening = bind(config.listen)
    except BindError as error:
        return _fail(f"OPENAI_DOOR_LISTEN: {error}", _FAILED)
    try:
        with listening:
            asyncio.run(run(config, listening))
    except ConfigError as error:
        return _fail(error, _FAILED)
    return 0


def _fail(error: object, status: int) -> int:
    print("python -m router.openai:", " ".join(str(error).split()), file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m router.openai",
        description=__doc__,
        epilog=help_text(DoorConfig.variables()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    sys.exit(main())
