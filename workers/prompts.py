"""From a request on the wire to the engine's, through the model's tokenizer."""

from collections.abc import Sequence

from ponder import bins
from ponder.v1 import worker_pb2
from workers.engine import EngineRequest
from workers.expectation import expected_need
from workers.sampling_defaults import SamplingDefaults
from workers.tokenizer import TextStream, Tokenizer


class Prompts:
    """Renders prompts for one model. Encoding a long one takes long: call it from a thread."""

    def __init__(self, tokenizer: Tokenizer, defaults: SamplingDefaults) -> None:
        self._tokenizer = tokenizer
        self._defaults = defaults

    def engine_request(self, request: worker_pb2.ThinkRequest, engine_id: str) -> EngineRequest:
        """Raises InvalidRequest when the prompt does not fit the chat template."""
        prompt_ids = self._encode(request)
        return engine_request(
            request,
            engine_id,
            prompt_ids=prompt_ids,
            prompt_opens_thinking=self._tokenizer.opens_thinking(prompt_ids),
            defaults=self._defaults,
        )

    def text_stream(self) -> TextStream:
        """Incremental decoding of one text."""
        return self._tokenizer.stream()

    def _encode(self, request: worker_pb2.ThinkRequest) -> list[int]:
        if request.messages:
            return self._tokenizer.encode_chat(
                [{"role": m.role, "content": m.content} for m in request.messages]
            )
        return self._tokenizer.encode_prompt(request.prompt)


def engine_request(
    request: worker_pb2.ThinkRequest,
    engine_id: str,
    *,
    prompt_ids: Sequence[int],
    prompt_opens_thinking: bool,
    defaults: SamplingDefaults,
) -> EngineRequest:
    """The engine's request, its prompt encoded already."""
    sampling = request.sampling
    has_temperature = sampling.HasField("temperature")
    has_top_p = sampling.HasField("top_p")
    return EngineRequest(
        request_id=engine_id,
        prompt_ids=prompt_ids,
        thinking_prefix_ids=tuple(request.thinking_prefix_ids),
        thinking_budget=request.thinking_budget,
        cut_grace_tokens=bins.cut_grace_tokens(request.thinking_budget),
        max_answer_tokens=request.max_answer_tokens,
        temperature=sampling.temperature if has_temperature else defaults.temperature,
        top_p=sampling.top_p if has_top_p else defaults.top_p,
        seed=_signed(sampling.seed),
        answer_on_exhaustion=request.answer_on_exhaustion,
        prompt_opens_thinking=prompt_opens_thinking,
        expected_thinking_tokens=expected_need(request.settlement.prior_hazards),
    )


def _signed(seed: int) -> int:
    """The engine keeps seeds as signed 64-bit integers; the bits stay the same."""
    return seed - (1 << 64) if seed >= 1 << 63 else seed
