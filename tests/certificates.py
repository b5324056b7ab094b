"""A certificate for tests, signed by itself."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certificate_for(folder: Path, host: str) -> tuple[Path, Path]:
    """Write a certificate of a host, a name or an address, and its key: `fullchain.pem` and `privkey.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    is_name = any(letter.isalpha() for letter in host)
    subject = x509.DNSName(host) if is_name else x509.IPAddress(ip_address(host))
    builder = builder.add_extension(x509.SubjectAlternativeName([subject]), False)
    certificate, private = folder / "fullchain.pem", folder / "privkey.pem"
    pem = serialization.Encoding.PEM
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return certificate, private
