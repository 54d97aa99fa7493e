"""What homes could do: potentials as arrays, how they answer a call, and what the pool of them can be relied on for."""
