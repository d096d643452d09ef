"""Sentence encoders, small and exact: pooling, projection, encoder. See the notebooks for the evidence."""

from stlib.startup import collection_paused

with collection_paused():
    from stlib.encoder import SentenceEncoder
    from stlib.model import SentenceTransformer
    from stlib.pooling import POOLING_MODES, pool
    from stlib.projection import Projection

__all__ = ["POOLING_MODES", "Projection", "SentenceEncoder", "SentenceTransformer", "pool"]
__version__ = "0.1.0"
