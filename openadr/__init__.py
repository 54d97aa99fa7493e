"""The OpenADR protocol without I/O.

`model/` holds version-neutral values and the rules on them as pure functions; `v20b/` is the codec of OpenADR 2.0b.
May import `core`, nothing else of ours.
"""
