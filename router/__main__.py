"""python -m router: the router process, configured by ROUTER_* variables; --help lists them."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from ponder.environment import ConfigError, help_text
from ponder.logs import configure_logging
from router.config import RouterConfig

_FAILED, _MISCONFIGURED = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; an error is one line on standard error."""
    _parser().parse_args(arguments)
    try:
        config = RouterConfig.from_env(os.environ)
    except ConfigError as error:
        return _fail(error, _MISCONFIGURED)
    configure_logging(config.log_level, config.log_format)
    return _run(config)


def _run(config: RouterConfig) -> int:
    # gRPC's core writes lines of its own; what it has to say arrives as statuses and exceptions.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Here, after that was set, and so that a wrong variable is told at once.
    from ponder.rpc import BindError
    from router.bootstrap import serve

    try:
        asyncio.run(serve(config, os.environ))
    except BindError as error:
        return _fail(f"ROUTER_LISTEN: {error}", _FAILED)
    except ConfigError as error:
        return _fail(error, _FAILED)
    return 0


def _fail(error: object, status: int) -> int:
    print("python -m router:", " ".join(str(error).split()), file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m router",
        description=__doc__,
        epilog=help_text(RouterConfig.variables()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    sys.exit(main())
