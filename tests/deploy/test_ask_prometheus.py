"""Asking a Prometheus: a stand-in that speaks its HTTP API, and knows some series."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from deploy import ask_prometheus
from deploy.checks.expressions import OTHERS, asked_by

SERIES = {"metric": {"tier": "simple", "pool": "easy"}, "value": [1.0, "2"]}


@contextmanager
def prometheus(knows, status=200):
    """`knows` tells of the names that an expression asks for whether there is data."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            address = urlsplit(self.path)
            [expression] = parse_qs(address.query)["query"]
            found = [SERIES] if knows(asked_by(expression).series) else []
            if address.path.endswith("query_range"):
                found = [{"metric": s["metric"], "values": [[1.0, "2"], [2.0, "3"]]} for s in found]
            body = {"data": {"resultType": "vector", "result": found}, "error": "no such function"}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_data_for_everything_of_ours_is_enough(capsys):
    with prometheus(lambda series: not series & OTHERS) as url:
        assert ask_prometheus.main([url]) == 0

    output = capsys.readouterr().out
    assert "1 series  cost.json: Requests answered" in output
    assert "not ours  retrain.json" in output


def test_a_zero_that_stands_in_for_missing_data_is_no_data(capsys):
    missing = {"ponder_router_shed_total"}
    with prometheus(lambda series: not series & missing) as url:
        assert ask_prometheus.main([url]) == 1

    assert "1 of them without data" in capsys.readouterr().out


def test_an_expression_that_is_refused_is_named(capsys):
    with prometheus(lambda series: True, status=400) as url:
        assert ask_prometheus.main([url]) == 1

    assert "refused (no such function)  cost.json" in capsys.readouterr().out


def test_nobody_there_is_said(capsys):
    assert ask_prometheus.main(["http://127.0.0.1:1"]) == 1
    assert "refused (http://127.0.0.1:1: " in capsys.readouterr().out


def test_every_panel_is_drawn_whether_it_has_data_or_not(tmp_path):
    picture = tmp_path / "panels.svg"
    with prometheus(lambda series: "ponder_router_degraded_total" not in series) as url:
        ask_prometheus.main([url, "--svg", str(picture)])

    drawn = picture.read_text()
    assert "cost: Requests answered" in drawn
    assert drawn.count(">no data<") == 1
