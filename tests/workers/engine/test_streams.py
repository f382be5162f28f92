from functools import partial

from tests.workers.engine.deferred_stream import DeferredStream
from workers.engine.streams import HostRing


def test_a_buffer_is_handed_out_again_only_when_its_copy_has_run():
    stream = DeferredStream()
    ring, copied = HostRing(stream, 2, 1), []
    for value in range(3):
        buffer = ring.take()
        buffer.fill_(value)
        stream.enqueue(partial(lambda source: copied.append(source.item()), buffer))
        ring.seal()

    assert copied == [0]  # the third needed the buffer of the first
    stream.run_to(3)
    assert copied == [0, 1, 2]
