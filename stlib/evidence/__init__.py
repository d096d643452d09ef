"""What makes a claim sound: data, estimates whose intervals cover, controls, verdicts that can go either way."""

from stlib.evidence.estimate import Estimate, best_of
from stlib.evidence.study import Study, decide, load

__all__ = ["Estimate", "Study", "best_of", "decide", "load"]
