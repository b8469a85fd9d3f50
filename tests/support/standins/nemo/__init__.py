"""A stand-in: NeMo does not fit beside the other libraries of the tests."""
