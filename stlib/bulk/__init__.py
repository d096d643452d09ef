"""Files and folders of any size to vectors, on this machine or over Ray."""

from stlib.bulk.encode import Encoded, FailedShards, encode_files

__all__ = ["Encoded", "FailedShards", "encode_files"]
