"""A server on the loopback interface whose answers go wrong as a test wants it."""

import contextlib
import http.server
import ssl
import threading
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("loopback.pem")  # self-signed, with its key: it protects nothing


class Server(http.server.ThreadingHTTPServer):
    """Serves `answers` by path: (status, body, headers), or a function of the handler. What was asked is in `asked`.

    The status may be a list, for one request after the other.
    """

    daemon_threads, block_on_close = True, False  # an answer that stalls ends with the process

    def __init__(self, encrypted: bool = False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked, self.headers, self.ended = {}, [], [], threading.Event()
        self.address = f"http{'s' * encrypted}://127.0.0.1:{self.server_port}"
        if encrypted:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_):
        pass  # clients go away in the middle: that is what is tested

    @property
    def ranges(self) -> list[str | None]:
        return [headers["Range"] for headers in self.headers]

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.ended.set()
            self.shutdown()
            thread.join()
            self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.headers.append(self.headers)
        answer = self.server.answers.get(self.path, (404, b"absent", {}))
        if callable(answer):
            answer(self)
            return
        status, body, headers = answer
        if isinstance(status, list):
            status = status.pop(0)
        self.begin(status, {"Content-Length": str(len(body)), **headers})
        self.wfile.write(body)

    def begin(self, status: int, headers: dict) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()

    def log_message(self, *_):
        pass


def ranged(content: bytes, most: int | None = None, stall: bool = False, pause: float = 0):
    """An answer with what is asked of `content`; after `most` bytes it breaks off, or stalls.

    With a `pause` it comes byte by byte, so many seconds apart.
    """

    def answer(handler: Handler) -> None:
        first = int((handler.headers["Range"] or "bytes=0-")[len("bytes=") : -1])
        rest = content[first:]
        if not rest:
            handler.begin(416, {"Content-Length": "0"})
            return
        told = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if first else {}
        handler.begin(206 if first else 200, {"Content-Length": str(len(rest)), **told})
        rest, step = rest[:most], 1 if pause else 2**16
        for start in range(0, len(rest), step):
            handler.wfile.write(rest[start : start + step])
            if handler.server.ended.wait(pause):
                return
        if stall:
            handler.server.ended.wait(60)

    return answer
