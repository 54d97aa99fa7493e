"""Names in a ds:Signature: elements in Clark notation, and the algorithms that are used and accepted (SE-09)."""

from typing import Final

DS: Final = "http://www.w3.org/2000/09/xmldsig#"
DSP: Final = "http://openadr.org/oadr-2.0b/2012/07/xmldsig-properties"

SIGNATURE: Final = f"{{{DS}}}Signature"
SIGNED_INFO: Final = f"{{{DS}}}SignedInfo"
CANONICALIZATION_METHOD: Final = f"{{{DS}}}CanonicalizationMethod"
SIGNATURE_METHOD: Final = f"{{{DS}}}SignatureMethod"
REFERENCE: Final = f"{{{DS}}}Reference"
TRANSFORMS: Final = f"{{{DS}}}Transforms"
TRANSFORM: Final = f"{{{DS}}}Transform"
DIGEST_METHOD: Final = f"{{{DS}}}DigestMethod"
DIGEST_VALUE: Final = f"{{{DS}}}DigestValue"
SIGNATURE_VALUE: Final = f"{{{DS}}}SignatureValue"
KEY_INFO: Final = f"{{{DS}}}KeyInfo"
X509_DATA: Final = f"{{{DS}}}X509Data"
X509_CERTIFICATE: Final = f"{{{DS}}}X509Certificate"
OBJECT: Final = f"{{{DS}}}Object"
PROPERTIES: Final = f"{{{DS}}}SignatureProperties"
PROPERTY: Final = f"{{{DS}}}SignatureProperty"
REPLAY_PROTECT: Final = f"{{{DSP}}}ReplayProtect"
TIMESTAMP: Final = f"{{{DSP}}}timestamp"
NONCE: Final = f"{{{DSP}}}nonce"

OBJECT_ID: Final = "{http://openadr.org/oadr-2.0b/2012/07}Id"
"""The attribute by which a signature names the oadrSignedObject."""

C14N: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
C14NS: Final = frozenset({C14N, f"{C14N}#WithComments"})
"""Comments never count: our parser drops them, and a reference to an Id leaves them out."""
SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"
RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
ECDSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
