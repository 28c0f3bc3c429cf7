"""What is wrong with the files for TLS is told before the server starts."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from jackfield.config import ConfigError, load_settings, server_context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A certificate, its key, both in one, the key of another, an encrypted one, and nonsense."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    mine, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    key = load_pem_private_key(mine.private_key_pem.bytes(), None)
    contents = {
        "certificate": b"".join(blob.bytes() for blob in mine.cert_chain_pems),
        "key": mine.private_key_pem.bytes(),
        "both": mine.private_key_and_cert_chain_pem.bytes(),
        "other": other.private_key_pem.bytes(),
        "encrypted": key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        ),
        "nonsense": b"nonsense",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: str(folder / name) for name in contents}


def problems(section: str, **keys: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {}, {section: keys})
    return [problem.message for problem in caught.value.problems]


def test_a_certificate_and_its_key_may_be_in_one_file_or_in_two(files: Mapping[str, str]) -> None:
    for certificate, key in (("certificate", "key"), ("both", None), ("both", "key")):
        path = None if key is None else files[key]
        settings = load_settings(
            None, {}, {"server": {"tls_certificate": files[certificate], "tls_key": path}}
        ).server
        assert (settings.tls_certificate, settings.tls_key) == (files[certificate], path)


def test_nothing_older_than_tls_1_2_is_spoken(files: Mapping[str, str]) -> None:
    context = server_context(files["certificate"], files["key"])
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("certificate", "other", "key values mismatch"),
        ("certificate", None, ""),
        ("certificate", "nonsense", ""),
        ("certificate", "encrypted", ""),
        ("nonsense", "key", ""),
        ("key", "certificate", ""),
    ],
)
def test_files_that_do_not_fit_are_named(
    files: Mapping[str, str], certificate: str, key: str | None, reason: str
) -> None:
    named = files[certificate] + ("" if key is None else f" and {files[key]}")
    (problem,) = problems(
        "server", tls_certificate=files[certificate], tls_key=None if key is None else files[key]
    )
    assert problem.startswith(
        f"server.tls_certificate: {named} are no certificate and its unencrypted key, in PEM: "
        f"{reason}"
    )


def test_a_key_without_a_certificate_is_a_slip(files: Mapping[str, str]) -> None:
    (problem,) = problems("server", tls_key=files["key"])
    assert problem.startswith("server.tls_key: There is no certificate: set server.tls_cert")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (problem,) = problems("server", tls_certificate=str(tmp_path / "gone"))
    assert problem.startswith("server.tls_certificate: The file cannot be read: No such file")


def test_authorities_for_redis_are_of_no_use_without_tls(files: Mapping[str, str]) -> None:
    authority = files["certificate"]
    (problem,) = problems("redis", url="redis://127.0.0.1", tls_ca=authority)
    assert problem.startswith("redis.tls_ca: Is of use only with TLS: redis.url must begin with")
    for url in ("rediss://127.0.0.1", "rediss+cluster://127.0.0.1"):
        settings = load_settings(None, {}, {"redis": {"url": url, "tls_ca": authority}})
        assert settings.redis.tls_ca == authority
