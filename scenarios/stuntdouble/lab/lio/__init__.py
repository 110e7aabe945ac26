"""The kernel target's laboratory: a real Linux target in a guest that is thrown away.

Our exporters run in there, in front of a site that is served here; what comes out by iSCSI is backed
up by our initiator and held against the truth.  No processor with virtualisation is needed.
"""
