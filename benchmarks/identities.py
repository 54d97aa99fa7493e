"""The benchmark's files: the server's directory as `evenload vtn init` makes it, and a certificate for each VEN."""

import asyncio
import shutil
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import DriveError, Ven
from benchmarks.servers import of_checkout
from certs.authority import Authority
from certs.kinds import KeyType
from evenload.setup import Shape, prepare
from openadr.signature.sign import Signer


@dataclass(frozen=True, slots=True)
class Site:
    """A prepared directory: settings, database, authority, server certificates, and the operator's token."""

    directory: Path
    token: str

    @classmethod
    async def make(cls, directory: Path) -> "Site":
        """Prepare a new directory. All listeners take free ports."""
        shape = Shape(host="127.0.0.1", openadr_port=0, api_port=0, console_port=0)
        made = await prepare(directory, ("localhost", "127.0.0.1"), "evenload", shape)
        return cls(directory, made.token)

    @classmethod
    async def make_with(cls, root: Path, directory: Path) -> "Site":
        """Have another checkout prepare the directory, so that both of them can read it."""
        work = (
            "import asyncio, pathlib, sys; from benchmarks.identities import Site;"
            "print(asyncio.run(Site.make(pathlib.Path(sys.argv[1]))).token)"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", work, str(directory), cwd=root, env=of_checkout(root), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        if process.returncode:
            raise DriveError(f"{root} could not prepare a directory.")
        return cls(directory, out.decode().split()[-1])

    async def copy(self, directory: Path) -> "Site":
        """Copy it, so that each server begins with the same."""
        await asyncio.to_thread(shutil.copytree, self.directory, directory)
        return Site(directory, self.token)

    @property
    def settings(self) -> Path:
        """Our VTN's settings file."""
        return self.directory / "vtn.toml"

    @property
    def authority(self) -> Path:
        """The root certificate."""
        return self.directory / "ca" / "ca.pem"


def homes(count: int) -> list[Ven]:
    """Return VENs without certificates, for plain HTTP."""
    return [Ven(f"home-{number:04d}") for number in range(count)]


def identified(site: Site, count: int, key_type: KeyType = KeyType.EC) -> list[Ven]:
    """Return VENs with a certificate each, which can sign messages, too."""
    authority = Authority.load(site.directory / "ca")
    folder = site.directory.with_name(f"homes-{key_type}")
    folder.mkdir()
    return [_identified(authority, folder, ven, key_type) for ven in homes(count)]


def _identified(authority: Authority, folder: Path, ven: Ven, key_type: KeyType) -> Ven:
    issued = authority.issue_client(ven.name, key_type=key_type)
    pem = folder / f"{ven.name}.pem"
    pem.write_text(f"{issued.key_pem}{issued.chain_pem}", encoding="ascii")
    ven.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ven.context.load_verify_locations(authority.directory / "ca.pem")
    ven.context.load_cert_chain(pem)
    ven.signer = Signer((issued.key_pem or "").encode(), issued.chain_pem.encode())
    ven.fingerprint = issued.record.fingerprint
    return ven
