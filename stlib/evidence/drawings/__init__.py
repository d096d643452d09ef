"""One drawn picture for each lesson, made of the values that the lesson has at hand."""

from stlib.evidence.drawings.attention import attention
from stlib.evidence.drawings.buckets import padding_and_buckets
from stlib.evidence.drawings.canvas import Drawing
from stlib.evidence.drawings.circle import unit_circle
from stlib.evidence.drawings.heads import two_heads
from stlib.evidence.drawings.mask import mask_grid
from stlib.evidence.drawings.pipeline import pipeline
from stlib.evidence.drawings.search import search_pipeline
from stlib.evidence.drawings.slices import slices
from stlib.evidence.drawings.spaces import two_spaces
from stlib.evidence.drawings.tokens import token_by_token

__all__ = [
    "Drawing",
    "attention",
    "mask_grid",
    "padding_and_buckets",
    "pipeline",
    "search_pipeline",
    "slices",
    "token_by_token",
    "two_heads",
    "two_spaces",
    "unit_circle",
]
