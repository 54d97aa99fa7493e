"""The aggregator's REST APIs on the VTN's shell: `brp/` for those who buy, `operator/` for those who sell."""
