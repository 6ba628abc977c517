import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import stripe

from tenure.sandbox.stripe.model import Policy
from tenure.sandbox.stripe.running import Box, running_stripe

from .sink import Sink

SECRET = "whsec_first"


@pytest.fixture
def box() -> Iterator[Box]:
    with running_stripe(seed=True) as running:
        yield running


@pytest.fixture
def client(box: Box) -> stripe.StripeClient:
    return client_of(box)


def client_of(box: Box, key: str = "") -> stripe.StripeClient:
    return stripe.StripeClient(
        key or box.secret_key, base_addresses={"api": box.url}, max_network_retries=0
    )


@pytest.fixture
def sink() -> Iterator[Sink]:
    found = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(found.take(body, self.headers["Stripe-Signature"]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def told(sink: Sink) -> Iterator[Box]:
    """A sandbox that delivers to the sink, with quick retries."""
    policy = Policy(webhook_backoff=(0.05,), webhook_timeout=5)
    with running_stripe(
        seed=True, webhook_url=sink.url, webhook_secret=SECRET, policy=policy
    ) as running:
        running.flush()
        sink.forget()
        yield running
