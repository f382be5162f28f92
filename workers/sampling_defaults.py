"""How a model samples when a request does not say: its generation_config.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from workers.engine import CheckpointError

FILE_NAME = "generation_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingDefaults:
    """Temperature 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0

    @classmethod
    def load(cls, model_dir: Path) -> Self:
        """Read them as transformers does: greedy unless the file says `do_sample`.

        Raises CheckpointError for a file that cannot be read or holds values out of range.
        """
        path = model_dir / FILE_NAME
        if not path.exists():
            return cls()
        try:
            config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if not config.get("do_sample"):
                return cls()
            defaults = cls(
                temperature=float(_given(config, "temperature", 1.0)),
                top_p=float(_given(config, "top_p", 1.0)),
            )
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        if not (0 <= defaults.temperature < float("inf") and 0 < defaults.top_p <= 1):
            raise CheckpointError(f"{path}: temperature or top_p is out of range")
        return defaults


def _given(config: dict[str, Any], name: str, default: float) -> Any:
    value = config.get(name)
    return default if value is None else value
