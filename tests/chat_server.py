"""A server on loopback with OpenAI's chat completions, whose behaviour a test chooses request by request."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(text, prompt_tokens=100, completion_tokens=12):
    """Status, headers and body of an answer."""
    total = prompt_tokens + completion_tokens
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    about = {"id": "1", "object": "chat.completion", "created": 0, "model": "stub"}
    return 200, {}, json.dumps({**about, "choices": [choice], "usage": usage})


def refusal(status, message="no", **headers):
    """Status, headers and body of an error."""
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(
        {"error": {"message": message}}
    )  # fmt: skip


class ChatStub:
    """Server whose ``answer`` maps a request's body to (status, headers, body), or to None to close the connection."""

    def __init__(self, answer):
        self.answer, self.requests, self.keys, self.times = answer, [], [], []
        self.active = self.most_active = 0
        self.seconds_per_byte = 0.0
        self._lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.base = f"http://127.0.0.1:{self.http.server_port}/v1"

    def _handler(self):
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.path == "/v1/chat/completions"
                with stub._lock:
                    stub.requests.append(body)
                    stub.keys.append(self.headers.get("Authorization"))
                    stub.times.append(time.monotonic())
                    stub.active += 1
                    stub.most_active = max(stub.most_active, stub.active)
                try:
                    self._send(stub.answer(body))
                finally:
                    with stub._lock:
                        stub.active -= 1

            def _send(self, answer):
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, text = answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text.encode())), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if not stub.seconds_per_byte:
                    self.wfile.write(text.encode())
                for byte in text.encode() if stub.seconds_per_byte else ():
                    try:
                        self.wfile.write(bytes([byte]))
                    except OSError:
                        return
                    time.sleep(stub.seconds_per_byte)

        return Handler


@contextmanager
def serving(answer):
    """Run a :class:`ChatStub`; ``answer`` is a function of the body, or a list of answers in turn."""
    if not callable(answer):
        waiting = iter(list(answer))
        answer = lambda body: next(waiting)  # noqa: E731
    stub = ChatStub(answer)
    stub.http.daemon_threads = True
    thread = threading.Thread(target=stub.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.http.shutdown()
        stub.http.server_close()
        thread.join()
