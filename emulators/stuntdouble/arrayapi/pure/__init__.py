"""The array as a Pure Storage FlashArray."""
