"""What the words of a connection string mean for TLS, and which files are refused."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from todo_service.config import database_tls, database_url

SECRET = "QZX7KWV9"


def context(query: str) -> ssl.SSLContext | str | None:
    return database_tls.context(database_url.parse(f"postgres://h/db?{query}"))


def write_certificate(folder: Path) -> None:
    """Write a certificate and its key, which SECRET opens, to `cert.pem` and `key.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "todo")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    closed = serialization.BestAvailableEncryption(SECRET.encode())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, closed))


def test_without_a_mode_that_needs_tls_the_driver_gets_the_word() -> None:
    assert context("") is None
    assert context("sslmode=prefer") == "prefer"


@pytest.mark.parametrize(
    ("query", "verified", "named"),
    [("ssl=true", ssl.CERT_NONE, False), ("sslrootcert=system", ssl.CERT_REQUIRED, True)],
)
def test_the_mode_says_what_is_checked(query: str, verified: ssl.VerifyMode, named: bool) -> None:
    made = context(query)
    assert isinstance(made, ssl.SSLContext)
    assert (made.verify_mode, made.check_hostname) == (verified, named)


@pytest.mark.parametrize("parameter", ["sslrootcert", "sslcrl", "sslcert"])
def test_a_file_that_is_no_pem_is_refused_without_secrets(tmp_path: Path, parameter: str) -> None:
    (broken := tmp_path / "broken.pem").write_text(f"not a certificate {SECRET}")
    with pytest.raises(ValueError, match="not a readable PEM") as refusal:
        context(f"sslmode=verify-full&{parameter}={broken}&sslpassword={SECRET}")
    assert SECRET not in str(refusal.value)


def test_a_closed_key_needs_its_password(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    files = f"sslcert={tmp_path}/cert.pem&sslkey={tmp_path}/key.pem"
    assert isinstance(context(f"{files}&sslpassword={SECRET}"), ssl.SSLContext)
    for wrong in ("", "&sslpassword=wrong"):
        with pytest.raises(ValueError, match="sslpassword is wrong"):
            context(files + wrong)


def test_the_home_folder_may_be_written_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_certificate(tmp_path)
    assert isinstance(context("sslrootcert=~/cert.pem"), ssl.SSLContext)
