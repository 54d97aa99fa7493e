"""XML signatures of OpenADR 2.0b messages (catalogue SE-08 to SE-10), without I/O.

A signature stands before the oadrSignedObject that it covers, and carries the time of sending and a nonce. `sign` makes
one, `verify` judges one and says which element it covers, `replay` remembers nonces. They need cryptography; `values`
is what the codec knows of them.
"""
