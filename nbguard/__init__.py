"""nbguard stands between a notebook cell and the model it is about to load."""
