"""A certificate of this machine's own making, for TLS over loopback."""

from __future__ import annotations

import datetime as dt
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_PEM = serialization.Encoding.PEM


def certified(folder: Path, name: str = "emulator", passphrase: bytes | None = None) -> tuple[Path, Path]:
    """The files of a self-signed certificate for 127.0.0.1, good for a day, and of its key."""
    key, subject, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1))
    # RFC 5280, 4.2.1.6: critical where the subject is empty.
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    cert_file, key_file = folder / f"{name}-cert.pem", folder / f"{name}-key.pem"
    cert_file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(_PEM))
    key_file.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, lock))
    return cert_file, key_file
