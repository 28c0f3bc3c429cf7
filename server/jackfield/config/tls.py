"""TLS from the files that the configuration names."""

import ssl


def server_context(certificate: str, key: str | None) -> ssl.SSLContext:
    """Return what a server needs to speak TLS 1.2 or newer.

    Args:
        certificate: The file of the certificate, its chain behind it.
        key: The file of its private key; None if that is in the same file.

    Raises:
        ValueError: The files can't be read, or do not belong together; the message says which.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, certificate, key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    """Have a context use a certificate, from its next handshake on.

    Args:
        context: A server's context. If this fails it is not fit for use.
        certificate: As for `server_context`.
        key: As for `server_context`.

    Raises:
        ValueError: As for `server_context`.
    """
    try:
        # Without a password of ours OpenSSL would ask for that of an encrypted key on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as exc:
        where = certificate if key is None else f"{certificate} and {key}"
        raise ValueError(
            f"{where} are no certificate and its unencrypted key, in PEM: {_reason(exc)}."
        ) from None
    except OSError as exc:
        raise ValueError(f"The file cannot be read: {exc.strerror}.") from None


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's own words, without the place in its source."""
    return (error.reason or "not valid").replace("_", " ").lower()
