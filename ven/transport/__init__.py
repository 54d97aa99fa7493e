"""The channels between the VEN engine and a VTN: one module for each way that messages go."""
