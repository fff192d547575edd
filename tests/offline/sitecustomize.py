"""In a folder of PYTHONPATH: every Python process is refused the network, and each attempt is a line in $OFFLINE."""

import os
import sys

EVENTS = ("connect", "getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo", "sendto", "sendmsg", "bind")


def refuse(event: str, arguments: tuple) -> None:
    package, _, name = event.partition(".")
    if package == "socket" and name in EVENTS:
        with open(os.environ["OFFLINE"], "a") as attempts:
            print(event, [str(argument) for argument in arguments], file=attempts)
        raise PermissionError("no network here")


sys.addaudithook(refuse)
