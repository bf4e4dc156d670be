"""ONNX Runtime without its telemetry: the only module that imports it.

Its Linux wheels (1.29 and later) report usage to their maker unless an environment variable, set before the first import,
forbids it: they write a device id and a database below the user's cache folder, and connect to an event server. Processes
started from here inherit the variable.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

__all__ = ["failures", "onnxruntime"]
