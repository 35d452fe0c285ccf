"""Run a network on ready tiles, on all processors, as onnxruntime does by itself: nothing is read, decoded or written.

python detector_bound.py NETWORK TILES
"""

import sys

import numpy as np
import onnxruntime

network, tiles = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.log_severity_level = 3
session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
(image,) = session.get_inputs()
pixels = np.random.default_rng(0).random(image.shape, dtype=np.float32)
for _ in range(-(-int(tiles) // image.shape[0])):
    session.run(None, {image.name: pixels})
