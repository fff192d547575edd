"""One file over http: what is not there of it yet, and no more than belongs to it."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urljoin

TIMEOUT = 30  # seconds without any answer; also those over which the speed is measured
SLOWEST = 1024  # bytes a second
CHUNK = 2**16
STRIDE = 2**20  # bytes that make an answer, which broke off after them, worth asking again at once
PASSING = (408, 425, 429)  # the 4xx answers that a second attempt may not get

Bar = Callable[[str, int, int], AbstractContextManager]  # of a name, a size and the bytes there; has update(bytes)


def no_bar(_name: str, _size: int, _there: int) -> AbstractContextManager:
    return nullcontext(SimpleNamespace(update=lambda _count: None))


class Refused(Exception):
    """A mirror's failure that no second attempt can mend; pooch repeats only ValueError and requests' own."""


class TooSlow(ValueError):
    """Bytes that come so slowly that the file would never be there."""


class Watch:
    """Shuts down a connection that makes no step for TIMEOUT seconds; a step is a whole head, or a piece of the body.

    The time limit of a socket begins anew with each byte: what drips, or repeats itself without end, keeps it.
    """

    def __init__(self):
        self.stepped, self.overdue, self._left = False, False, threading.Event()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._left.set()

    def begin(self, connection: socket.socket) -> None:
        """Watch this connection, in place of the one before, until the context is left."""
        self._left.set()
        self._left = threading.Event()
        # urllib3 forgets its own before the body is read
        twin = socket.fromfd(connection.fileno(), connection.family, connection.type)
        threading.Thread(target=self._look, args=(twin, self._left), daemon=True).start()

    def _look(self, twin: socket.socket, left: threading.Event) -> None:
        with twin:
            while not left.wait(TIMEOUT):
                if not self.stepped:
                    self.overdue = True
                    with suppress(OSError):  # the other side may have ended it
                        twin.shutdown(socket.SHUT_RDWR)
                    return
                self.stepped = False


def fetch(url: str, part: Path, size: int, bar: Bar) -> None:
    """Make `part` the `size` bytes at `url`, asking only for those that it lacks.

    Whether they are the right ones is for the caller to see. Raises Refused, or what another attempt may mend:
    requests' exceptions and TooSlow; OSError where they cannot be written. What came before a connection was lost
    stays in `part`, also if the process ends; what is found not to belong to the file does not.
    """
    import requests

    while True:
        before = _size(part)
        try:
            with Watch() as watch:
                return _fetch_rest(url, part, size, bar, watch)
        except (requests.ConnectionError, requests.Timeout):
            if _size(part) < before + STRIDE:
                raise


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _fetch_rest(url: str, part: Path, size: int, bar: Bar, watch: Watch) -> None:
    start = _size(part)
    if start == size:
        return
    start = start if start < size else 0
    response = _ask(url, start, watch)
    if start and not _continues(response, start):
        start = 0
        if response.status_code != 200:
            response.close()
            response = _ask(url, start, watch)
    with response:
        _check(response, size - start)
        if start == 0:
            part.unlink(missing_ok=True)
            part.touch()
        with open(part, "r+b") as file, bar(part.stem, size, start) as shown:
            file.seek(start)
            try:
                for chunk in _chunks(response, size - start, watch):
                    file.write(chunk)
                    shown.update(len(chunk))
            except Refused:
                part.unlink()
                raise
            file.flush()
            os.fsync(file.fileno())


def _ask(url: str, start: int, watch: Watch):
    """The answer to a request for the bytes from `start` on. Its body is not read yet."""
    import requests

    def look(response, **_) -> None:
        """Is called with each answer, before a redirect in it is followed."""
        watch.stepped = True
        if response.is_redirect:
            response.close()  # requests would read its body, however long
            _stay_encrypted(response)

    # Without "identity" a server may send the .gz unpacked, and its length and checksum would be others.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with _session(watch) as session:
            response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT, hooks={"response": look})
    except requests.RequestException as error:
        if watch.overdue:
            raise requests.Timeout(error) from error
        raise
    except ValueError:
        raise Refused("not a usable address") from None
    if watch.overdue:  # a head that ends with its connection is taken for a whole one
        response.close()
        raise requests.Timeout
    return response


def _session(watch: Watch):
    """A session of requests whose connections are watched."""
    import requests

    class Watched(requests.adapters.HTTPAdapter):
        def get_connection_with_tls_context(self, *arguments, **options):
            pool = super().get_connection_with_tls_context(*arguments, **options)
            plain = type(pool).ConnectionCls

            class Connection(plain):
                def connect(self):
                    super().connect()
                    watch.begin(self.sock)

            pool.ConnectionCls = Connection
            return pool

    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, Watched())
    return session


def _stay_encrypted(response) -> None:
    target = urljoin(response.url, response.headers.get("Location", ""))
    if response.url.startswith("https:") and not target.startswith("https:"):
        raise Refused("redirects from https to an address without it")


def _continues(response, start: int) -> bool:
    """Whether an answer may go on at `start`: False where the server knows no ranges, or means others by them."""
    if response.status_code == 206:
        return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    return response.status_code not in (200, 416)


def _check(response, expected: int) -> None:
    """Raise Refused or requests.HTTPError where an answer cannot be the `expected` bytes."""
    status, length = response.status_code, response.headers.get("Content-Length", "")
    if 400 <= status < 500 and status not in PASSING:
        raise Refused(f"HTTP {status}")
    response.raise_for_status()
    if length.isdecimal() and int(length) != expected:
        raise Refused(f"sends {length} bytes, expected {expected}")


def _chunks(response, expected: int, watch: Watch) -> Iterator[bytes]:
    """The body as it comes, not decoded: some servers call a .gz an encoding of what is in it."""
    import requests
    import urllib3

    count, since, counted = 0, time.monotonic(), 0
    try:
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            watch.stepped = True
            count += len(chunk)
            if count > expected:
                raise Refused(f"sends more than {expected} bytes")
            yield chunk
            seconds = time.monotonic() - since
            if seconds > TIMEOUT:
                if count - counted < SLOWEST * seconds:
                    raise TooSlow
                since, counted = time.monotonic(), count
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.Timeout(error) from error
    except urllib3.exceptions.HTTPError as error:
        raise (requests.Timeout if watch.overdue else requests.ConnectionError)(error) from error
    if watch.overdue:
        raise requests.Timeout
    if count < expected:
        raise Refused(f"sends {count} bytes, expected {expected}")
