"""python -m workers: one worker process, configured by WORKER_* variables; --help lists them."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from ponder.environment import ConfigError, help_text
from ponder.logs import configure_logging
from workers.config import WorkerConfig

_FAILED, _MISCONFIGURED, _INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; an error is one line on standard error."""
    upstream = _parser().parse_args(arguments).upstream
    given = {} if upstream is None else {"WORKER_UPSTREAM_URL": upstream}
    try:
        config = WorkerConfig.from_env({**os.environ, **given})
    except ConfigError as error:
        return _fail(error, _MISCONFIGURED)
    configure_logging(config.log_level, config.log_format)
    return _run(config)


def _run(config: WorkerConfig) -> int:
    # gRPC's core writes lines of its own; what it has to say arrives as statuses and exceptions.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Here, so that a wrong variable is not told seconds later: this imports torch.
    from ponder.ledger import LedgerUnavailable
    from ponder.rpc import BindError
    from ponder.spool import SpoolInUse
    from workers.engine import EngineError
    from workers.errors import WorkerError
    from workers.process import run

    try:
        asyncio.run(run(config, os.environ))
    except LedgerUnavailable as error:
        return _fail(f"WORKER_REDIS_URL: Redis does not answer: {error}", _FAILED)
    except BindError as error:
        return _fail(f"WORKER_LISTEN: {error}", _FAILED)
    except SpoolInUse as error:
        return _fail(f"WORKER_SPOOL_DIR: {error}", _FAILED)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (ConfigError, EngineError, WorkerError, OSError, RuntimeError, ValueError) as error:
        return _fail(error, _FAILED)
    return 0


def _fail(error: object, status: int) -> int:
    print("python -m workers:", " ".join(str(error).split()), file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workers",
        description=__doc__,
        epilog=help_text(WorkerConfig.variables()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--upstream",
        metavar="URL",
        help="vLLM, SGLang or llama.cpp server that runs the model; as WORKER_UPSTREAM_URL",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
