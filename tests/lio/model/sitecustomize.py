"""Puts a model of the kernel's target under the child, where a test says where it lies."""

import os

if root := os.environ.get("LIO_MODEL"):
    import lio_model

    lio_model.install(root)
