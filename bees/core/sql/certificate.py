"""Why a server's certificate is not trusted: OpenSSL's reason, as X509_V_ERR numbers of its `x509_vfy.h`."""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import suppress

from bees.core.errors import GiveUp

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
"""PostgreSQL's message formats, `SSLRequest`."""
_YES = b"S"
_NOT_YET, _EXPIRED = 9, 10
_OTHER_NAME = (62, 64)
_NO_AUTHORITY = (2, 18, 19, 20, 21, 27)


def distrusted(number: int, server: str, options: tuple[str, str]) -> GiveUp:
    """The error for a certificate that OpenSSL does not trust.

    number   OpenSSL's X509_V_ERR
    server   host and port, as configured
    options  the bee's options that hold the host, and the file of authorities
    """
    host, authorities = options
    whose = f"the certificate of the server {server}"
    where = authorities
    if number == _EXPIRED:
        message, where = f"{whose}, or of its authority, has expired", host
        advice = "put a new certificate in place at the server"
    elif number == _NOT_YET:
        message, where = f"{whose}, or of its authority, is not valid yet", host
        advice = "check the clock of this machine, and from when the certificate is valid"
    elif number in _OTHER_NAME:
        message, where = f"{whose} is for another host name", host
        advice = f"name the server in `{host}` as its certificate does, or have one issued for this name"
    elif number in _NO_AUTHORITY:
        message = f"{whose} comes from an authority that is not known here"
        advice = f"let `{authorities}` name a file with the authority that signed it"
    else:
        message = f"{whose} cannot be verified (X509 error {number})"
        advice = f"check the certificate, and `{authorities}`"
    return GiveUp(message, code="bad_certificate", where=where, advice=advice)


def of_postgresql(
    hosts: str, port: int, authorities: str | None, patience: float, *, named: bool
) -> tuple[int, str] | None:
    """Why the first of these servers' certificates is not trusted, and which server it is, as libpq does not tell.

    hosts        as libpq takes them, with commas between
    authorities  file of those that are trusted; None: the machine's
    named        whether the host's name counts

    Raises GiveUp for a file without authorities.
    """
    for host in hosts.split(","):
        with suppress(OSError, ValueError), socket.create_connection((host, port), patience) as plain:
            plain.sendall(_SSL_REQUEST)
            if plain.recv(1) != _YES:
                continue
            context = _trusting(authorities)
            context.check_hostname = named
            try:
                context.wrap_socket(plain, server_hostname=host).close()
            except ssl.SSLCertVerificationError as error:
                return error.verify_code, f"{host}:{port}"
    return None


def _trusting(authorities: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError:  # SSLError is one
        message = "the file with the server's authorities cannot be read, or holds none"
        advice = "let `ssl_root_cert` name a file with the authority that signed the server's certificate"
        raise GiveUp(message, code="bad_certificate", where="ssl_root_cert", advice=advice) from None
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # libpq does not ask for that
    return context
