"""An engine that is elsewhere: vLLM, SGLang or llama.cpp behind the same Worker service.

Only the engine is replaced; requests, settlements, load and drain are the worker's own.

    open.py          puts the parts together
    capabilities.py  finds out what the server is and offers
    wire.py          HTTP and server-sent events, and what can go wrong there
    dialects.py      what a server is asked, and how its stream is read; vllm.py, sglang.py and
                     llama_cpp.py are the three
    vocabulary.py    prompts and markers to token ids, by the server or by a local tokenizer
    markers.py       what opens and closes the thinking
    prompts.py       from a request on the wire to the engine's
    token_source.py  one completion over as many calls as it takes, each token once
    odds.py          how sure the model was of a token, by the server's log-probabilities
    early_exit.py    whether thinking stops early here, and why not
    trials.py        trial answers of one request, calls beside its thinking
    run.py           one request: think within the budget, close, answer
    outbox.py        what a request has produced, on its way to its reader
    engine.py        all requests, with a queue
    meter.py         the server's speed, as the requests see it
    health.py        whether the server is well
"""
