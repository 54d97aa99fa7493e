"""How the VEN engine reaches a VTN: one module an OpenADR version and mode."""
