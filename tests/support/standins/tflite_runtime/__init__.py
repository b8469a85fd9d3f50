"""A stand-in for tflite-runtime, which has no build for this Python: what its 2.14 says it takes, and no runtime."""
