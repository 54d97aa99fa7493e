"""How fast evenload is, measured against openleadr on the same machine with the same messages.

`python -m benchmarks` starts both servers as processes, drives them in turn, and writes the table. What only a
benchmark needs (control endpoints, VENs by the thousand) lives here, never in the product.
"""
