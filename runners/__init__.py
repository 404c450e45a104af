"""How a model answers: from the bytes of a picture to detections, one file per model family."""
