"""The other half of the kit: it plays a VTN and judges the VEN that comes. It shares templates, judge and reports."""
