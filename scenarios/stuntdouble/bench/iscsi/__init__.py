"""iSCSI reads, side by side with tgtd."""
