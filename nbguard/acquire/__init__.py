"""Getting a model in a form that cannot run anything.

from nbguard.acquire.convert import convert

convert("pytorch_model.bin")        # model.safetensors beside it, made in an isolated process, compared bit for bit
"""
