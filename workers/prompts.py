"""From a request on the wire to the engine's, through the model's tokenizer."""

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
        sampling, defaults = request.sampling, self._defaults
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
            prompt_opens_thinking=self._tokenizer.opens_thinking(prompt_ids),
            expected_thinking_tokens=expected_need(request.settlement.prior_hazards),
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


def _signed(seed: int) -> int:
    """The engine keeps seeds as signed 64-bit integers; the bits stay the same."""
    return seed - (1 << 64) if seed >= 1 << 63 else seed
