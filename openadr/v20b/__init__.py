"""OpenADR 2.0b on the wire: messages as values, decode, encode, the XSD."""
