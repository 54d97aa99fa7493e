"""OpenADR 2.0a: EiEvent alone, with one SIMPLE signal an event (catalogue chapter PA).

Its messages are those of 2.0b's EiEvent in a namespace of their own and without the wrapping, so 2.0b's codec does the
work.
"""
