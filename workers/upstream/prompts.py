"""From a request on the wire to the engine's, in the upstream's tokens."""

from collections.abc import Iterable, Sequence

from ponder.v1 import worker_pb2
from workers.chat_template import Message
from workers.engine import EngineRequest, InvalidRequest
from workers.prompts import engine_request
from workers.sampling_defaults import SamplingDefaults
from workers.upstream.markers import Markers
from workers.upstream.vocabulary import Vocabulary


class UpstreamPrompts:
    """Renders prompts; encoding asks the server, so call it from a thread."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        markers: Markers,
        defaults: SamplingDefaults,
        reserved_texts: Sequence[str],
    ) -> None:
        """`reserved_texts`: what no prompt may hold, because it would steer the model."""
        self._vocabulary = vocabulary
        self._markers = markers
        self._defaults = defaults
        self._reserved_texts = reserved_texts

    def engine_request(self, request: worker_pb2.ThinkRequest, engine_id: str) -> EngineRequest:
        """Raises InvalidRequest when the upstream refuses the prompt."""
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        prompt_ids = self._encode(messages or [{"role": "user", "content": request.prompt}])
        return engine_request(
            request,
            engine_id,
            prompt_ids=prompt_ids,
            prompt_opens_thinking=self._markers.are_open(prompt_ids),
            defaults=self._defaults,
        )

    def text_stream(self) -> "ServerText":
        """Nothing is decoded here."""
        return ServerText()

    def _encode(self, messages: Sequence[Message]) -> Sequence[int]:
        for message in messages:
            for text in self._reserved_texts:
                if text in message["content"]:
                    raise InvalidRequest(
                        f"prompt contains {text!r}, which the model reserves: remove it"
                    )
        return self._vocabulary.encode_chat(messages)


class ServerText:
    """The server's replies have the text beside the ids."""

    holds_text = False

    def feed(self, ids: Iterable[int]) -> str:
        """No text: it is there already."""
        return ""

    def flush(self) -> str:
        """No text."""
        return ""
