"""Which versions of a classifier serve a reasoning model: champion, canary, shadow. Pure.

A rollout is one small record that is only ever replaced as a whole, see ponder/classifiers.py.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Self

FILES: Final = "files"
"""In place of a version: the classifier that the router was configured with, or that ships."""
MAX_CANARY_SHARE: Final = 0.5

_VERSION = re.compile(r"[0-9a-f]{16}")


class RolloutError(ValueError):
    """The change makes no sense as things stand, or the stored record is not one of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One state. `revision` counts changes; `previous`, `canary` and `shadow` may be empty.

    The canary decides a share of the requests, above 0 and up to MAX_CANARY_SHARE. The shadow
    predicts beside whoever decides. Times are unix seconds.
    """

    revision: int = 0
    champion: str = FILES
    promoted_at_s: float = 0.0
    previous: str = ""
    canary: str = ""
    canary_share: float = 0.0
    shadow: str = ""
    reason: str = ""
    changed_by: str = ""
    changed_at_s: float = 0.0

    def __post_init__(self) -> None:
        for role in ("champion", "previous"):
            if (version := getattr(self, role)) != FILES and (version or role == "champion"):
                _check_version(role, version)
        for role in ("canary", "shadow"):
            if version := getattr(self, role):
                _check_version(role, version)
        if self.canary and not 0.0 < self.canary_share <= MAX_CANARY_SHARE:
            raise RolloutError(
                f"canary_share is {self.canary_share}; use a share above 0, up to "
                f"{MAX_CANARY_SHARE}"
            )
        if self.revision < 0:
            raise RolloutError(f"revision is {self.revision}, not 0 or more")

    @classmethod
    def from_hash(cls, found: Mapping[bytes, bytes]) -> Self:
        """Raises RolloutError, which names the field, for anything that to_hash did not write."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            kind: Any = type(field.default)
            try:
                values[field.name] = kind(found[field.name.encode()].decode())
            except (KeyError, ValueError) as error:
                raise RolloutError(f"{field.name} is missing or unreadable: {error}") from error
        return cls(**values)

    def to_hash(self) -> dict[str, str | int | float]:
        return asdict(self)

    @property
    def versions(self) -> frozenset[str]:
        """All that are named, FILES aside."""
        named = (self.champion, self.previous, self.canary, self.shadow)
        return frozenset(named) - {"", FILES}

    def promoted(self, version: str, now_s: float) -> Self:
        """The version decides all requests that a canary does not; the old one can come back."""
        if version == self.champion:
            raise RolloutError(f"{version} is the champion already")
        return replace(
            self._without(version),
            champion=version,
            promoted_at_s=now_s,
            previous=self.champion,
        )

    def rolled_back(self, now_s: float) -> Self:
        """The champion before this one decides again. Once: what was before that is not known."""
        if not self.previous:
            raise RolloutError(
                f"no champion before {self.champion} is known; promote a version by name"
            )
        return replace(
            self._without(self.previous),
            champion=self.previous,
            promoted_at_s=now_s,
            previous="",
        )

    def with_canary(self, version: str, share: float) -> Self:
        """Raises RolloutError for a share outside (0, MAX_CANARY_SHARE]."""
        self._check_is_no_champion(version)
        return replace(self._without(version), canary=version, canary_share=share)

    def without_canary(self) -> Self:
        if not self.canary:
            raise RolloutError("no canary is running")
        return replace(self, canary="", canary_share=0.0)

    def with_shadow(self, version: str) -> Self:
        self._check_is_no_champion(version)
        return replace(self._without(version), shadow=version)

    def without_shadow(self) -> Self:
        if not self.shadow:
            raise RolloutError("no shadow is running")
        return replace(self, shadow="")

    def stage(self, version: str) -> str:
        """The part that a version plays, in one word; empty for none."""
        for role in ("champion", "canary", "shadow", "previous"):
            if getattr(self, role) == version:
                return role
        return ""

    def _without(self, version: str) -> Self:
        """A version plays one part at a time."""
        kept = replace(self, shadow="") if self.shadow == version else self
        return replace(kept, canary="", canary_share=0.0) if self.canary == version else kept

    def _check_is_no_champion(self, version: str) -> None:
        if version == self.champion:
            raise RolloutError(f"{version} is the champion: it decides already")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of the history."""

    revision: int
    action: str
    champion: str
    canary: str
    canary_share: float
    shadow: str
    reason: str
    changed_by: str
    changed_at_s: float

    @classmethod
    def to(cls, rollout: Rollout, action: str) -> Self:
        names = (field.name for field in fields(cls) if field.name != "action")
        return cls(action=action, **{name: getattr(rollout, name) for name in names})

    @classmethod
    def from_json(cls, line: bytes) -> Self | None:
        """None for what to_json did not write."""
        try:
            return cls(**json.loads(line))
        except (TypeError, ValueError):
            return None

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def is_version(text: str) -> bool:
    """Whether it is 16 hexadecimal digits, as a content hash of the classifier is."""
    return _VERSION.fullmatch(text) is not None


def _check_version(role: str, version: str) -> None:
    if not is_version(version):
        raise RolloutError(f"{role} is {version!r}, which is no version: 16 hexadecimal digits")
