"""How to reach an MQTT broker: the `mqtt` section of a household file, or one of its `connections`."""

import ipaddress
import ssl
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from core.errors import InvalidError


class TlsOptions(BaseModel):
    """TLS to the broker. An empty section means TLS with the system's trusted authorities."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: Path | None = Field(None, title="CA file", description="Authority that signed the broker's certificate (PEM).")
    cert: Path | None = Field(None, title="Certificate", description="Our own certificate, where the broker wants one.")
    key: Path | None = Field(None, title="Key", description="The private key of our certificate (PEM, unencrypted).")

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together; give both or neither")
        return self

    def context(self) -> ssl.SSLContext:
        """Read the files. Raises InvalidError where one is missing or malformed."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            files = ", ".join(str(path) for path in (self.ca, self.cert, self.key) if path)
            raise InvalidError(f"The TLS files of the MQTT broker cannot be used ({files}): {error}") from error
        return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() in ("localhost", "ip6-localhost") or host.lower().endswith(".localhost")


class MqttOptions(BaseModel):
    """The broker and how we present ourselves to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mqtt"] = Field("mqtt", title="Kind", description="What kind of connection it is.")
    host: str = Field("localhost", min_length=1, max_length=253, title="Host", description="Name or address.")
    port: int = Field(1883, ge=1, le=65535, title="Port", description="1883, or 8883 with TLS, by convention.")
    username: str | None = Field(None, title="User name", description="Without it we are anonymous.")
    password: SecretStr | None = Field(None, title="Password", description="Better kept in password_file.")
    password_file: Path | None = Field(None, title="Password file", description="A file with the password only.")
    tls: TlsOptions | None = Field(None, title="TLS", description="Encrypt, and check who the broker is.")
    client_id: str = Field(
        "",
        max_length=128,
        title="Client id",
        description="Our own, lasting name at the broker. Without it the broker keeps no messages while we are away.",
    )
    clean_session: bool = Field(
        False, title="Clean session", description="Ask the broker to forget us whenever we disconnect."
    )
    keepalive_s: int = Field(60, ge=5, le=3600, title="Keep-alive", description="Seconds between signs of life.")
    version: Literal["3.1.1", "5"] = Field("3.1.1", title="MQTT version", description="Every broker speaks 3.1.1.")
    will_topic: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        title="Status topic",
        description="Where `online` or `offline` (also the last will) is retained.",
    )
    max_payload_bytes: int = Field(
        1_048_576, ge=1024, title="Largest message", description="Longer messages are dropped, with a warning."
    )

    @field_validator("version", mode="before")
    @classmethod
    def _version_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) else value  # YAML reads 5 as a number

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("a password needs a username")
        return self

    @property
    def address(self) -> str:
        """Host and port, as people are told them."""
        return f"{self.host}:{self.port}"

    @property
    def keeps_session(self) -> bool:
        """Whether we ask the broker to keep messages for us while we are away."""
        return bool(self.client_id) and not self.clean_session

    @property
    def anonymous(self) -> bool:
        """Whether we show neither user name nor certificate."""
        return self.username is None and (self.tls is None or self.tls.cert is None)

    @property
    def warning(self) -> str | None:
        """What is unsafe about these options, or None."""
        if self.tls is not None or self.username is None or _is_loopback(self.host):
            return None
        if self.password is None and self.password_file is None:
            return None
        return f"the MQTT password goes to {self.host} in clear: give the broker TLS, and this section `tls: {{}}`"

    def anchored(self, folder: Path) -> Self:
        """Return these options with relative paths taken from `folder`."""
        changes: dict[str, object] = {}
        if self.password_file is not None:
            changes["password_file"] = folder / self.password_file
        if self.tls is not None:
            files = {name: folder / value for name in ("ca", "cert", "key") if (value := getattr(self.tls, name))}
            changes["tls"] = self.tls.model_copy(update=files)
        return self.model_copy(update=changes)

    def secret(self) -> str | None:
        """Return the password. Raises InvalidError if its file cannot be read."""
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, ValueError) as error:
            raise InvalidError(f"The MQTT password file {self.password_file} cannot be read: {error}") from error
