"""xmlsec1, an independent judge and maker of XML signatures."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_OBJECT = "http://openadr.org/oadr-2.0b/2012/07:oadrSignedObject"
_PROPERTY = "http://www.w3.org/2000/09/xmldsig#:SignatureProperty"


@dataclass(frozen=True, slots=True)
class Xmlsec:
    """The program, and a folder for what it reads."""

    program: str
    folder: Path

    def accepts(self, message: bytes, ca_pem: str) -> bool:
        """Return whether every reference and the signature of a message are good, and its certificate the CA's."""
        (self.folder / "ca.pem").write_text(ca_pem)
        trust = ("--trusted-pem", "ca.pem", "--enabled-key-data", "x509")
        return self._run("--verify", message, *trust).returncode == 0

    def sign(self, template: bytes, key_pem: str, cert_pem: str) -> bytes:
        """Return a message with an empty signature filled in."""
        (self.folder / "key.pem").write_text(key_pem)
        (self.folder / "cert.pem").write_text(cert_pem)
        done = self._run("--sign", template, "--privkey-pem", "key.pem,cert.pem")
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def _run(self, what: str, message: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
        (self.folder / "message.xml").write_bytes(message)
        ids = ("--id-attr:Id", _OBJECT, "--id-attr:Id", _PROPERTY)
        command = [self.program, what, *ids, *options, "message.xml"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, check=False, timeout=60)


def find_xmlsec(folder: Path) -> Xmlsec:
    """Return the program. Where it is missing: an error in CI, elsewhere a skip that says what to install."""
    program = shutil.which("xmlsec1")
    if program is None:
        reason = "xmlsec1 is not installed: apt-get install xmlsec1"
        if os.environ.get("CI"):
            raise RuntimeError(reason)
        pytest.skip(reason)
    return Xmlsec(program, folder)
