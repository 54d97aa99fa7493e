"""The demo's MQTT broker: Mosquitto where it is installed, else the embedded amqtt. Always with a password.

`python -m evenload.demo.broker DIRECTORY PORT` runs it in the foreground; user and password lie in the directory.
"""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UnavailableError

USER = "demo"
_PLACES = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the broker."""

    host: str
    port: int
    username: str
    password_file: Path


def prepare(directory: Path, port: int) -> Access:
    """Make the credentials, once for a run."""
    directory.mkdir(mode=0o700, exist_ok=True)
    password_file = directory / "password"
    descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(24))
    return Access("127.0.0.1", port, USER, password_file)


def mosquitto() -> str | None:
    """Return the path of an installed Mosquitto, or None."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:{_PLACES}")


def _run_mosquitto(program: str, directory: Path, port: int, password: str) -> None:
    """Replace this process by Mosquitto."""
    users = directory / "users"
    users.write_text(f"{USER}:{password}\n", encoding="ascii")
    tool = shutil.which("mosquitto_passwd", path=f"{os.environ.get('PATH', '')}:{_PLACES}")
    if tool is None:
        raise UnavailableError("Mosquitto is installed without mosquitto_passwd; install the whole package.")
    users.chmod(0o600)
    subprocess.run([tool, "-U", str(users)], check=True)  # noqa: S603  a program of the machine, our own file
    settings = directory / "mosquitto.conf"
    user = "user root\n" if os.geteuid() == 0 else ""  # else it drops to a user who cannot read our files
    settings.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\n"
        f"persistence true\npersistence_location {directory}/\nautosave_on_changes true\nautosave_interval 1\n"
        f"max_queued_messages 100000\nlog_dest stderr\nlog_type warning\nlog_type error\n{user}",
        encoding="utf-8",
    )
    os.execv(program, [program, "-c", str(settings)])  # noqa: S606  no shell wanted


async def _run_amqtt(directory: Path, port: int, password: str) -> None:
    from amqtt.broker import Broker  # noqa: PLC0415  only where no Mosquitto is installed
    from pwdlib import PasswordHash  # noqa: PLC0415
    from pwdlib.hashers.argon2 import Argon2Hasher  # noqa: PLC0415

    users = directory / "users"
    users.write_text(f"{USER}:{PasswordHash((Argon2Hasher(),)).hash(password)}\n", encoding="ascii")
    users.chmod(0o600)
    settings: dict[str, Any] = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {
            "amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(users)},
        },
    }
    broker = Broker(settings)
    await broker.start()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await broker.shutdown()


def main() -> None:
    """Run the broker that is there."""
    directory, port = Path(sys.argv[1]), int(sys.argv[2])
    password = (directory / "password").read_text(encoding="ascii").strip()
    program = mosquitto()
    if program is not None and "--embedded" not in sys.argv:
        _run_mosquitto(program, directory, port, password)
    asyncio.run(_run_amqtt(directory, port, password))


if __name__ == "__main__":
    main()
