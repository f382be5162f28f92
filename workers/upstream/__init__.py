"""An engine that is elsewhere: vLLM, SGLang or llama.cpp behind the same Worker service.

Only the engine is replaced; requests, settlements, load and drain are the worker's own.

    open.py          finds out what the server is and puts the parts together
    wire.py          HTTP and server-sent events, and what can go wrong there
    dialects.py      what a server calls what it is asked, and how its stream is read
    vocabulary.py    prompts and markers to token ids, by the server or by a local tokenizer
    token_source.py  one completion over as many calls as it takes, each token once
    run.py           one request: think within the budget, close, answer
    engine.py        all of them, with a queue
    pulse.py         whether the server is well
"""
