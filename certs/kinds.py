"""What certificates and keys there are, in names."""

from enum import StrEnum


class Kind(StrEnum):
    """What a certificate is for."""

    SERVER = "server"
    CLIENT = "client"
    VTN = "vtn"
    """A server that also calls servers of its clients: a VTN that pushes."""


class KeyType(StrEnum):
    """The two kinds of keys that OpenADR knows."""

    EC = "ec"
    RSA = "rsa"
