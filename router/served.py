"""What a router serves at this moment: models, and the segments whose observed needs it reads."""

from collections.abc import Awaitable, Callable, Sequence

from router.config import RouterConfig
from router.pools import Pools
from router.predictions import Predictions, Segment
from router.tenants import Tenants


def served_models(config: RouterConfig, pools: Pools) -> Callable[[], Sequence[str]]:
    return lambda: config.models or pools.models


def served_segments(
    models: Callable[[], Sequence[str]],
    versions: Callable[[str], Sequence[str]],
    tenants: Tenants,
) -> Callable[[], list[Segment]]:
    """Asked anew each time: the served models and their classifiers change while it runs."""

    def segments() -> list[Segment]:
        return [
            Segment(model=model, version=version, tenant=tenant)
            for model in models()
            for version in versions(model)
            for tenant in tenants.names
        ]

    return segments


def reading(
    predictions: Predictions, tenants: Tenants
) -> Callable[[str, Sequence[str]], Awaitable[None]]:
    """Reads what was observed under versions that are about to serve."""

    async def read(model: str, versions: Sequence[str]) -> None:
        segments = served_segments(lambda: [model], lambda _: versions, tenants)
        await predictions.refresh(segments())

    return read
