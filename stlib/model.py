"""`SentenceTransformer`: token ids in, one vector a text out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from stlib import checkpoint, checks, hub
from stlib.backbone import ATTENTION, DTYPES, Backbone, load_backbone
from stlib.files import warn
from stlib.pooling import Pooling, pool, pooling_modes
from stlib.projection import Projection
from stlib.saving import replace_model
from stlib.startup import collection_paused
from stlib.tokens import load_tokenizer, save_tokenizer

# What of a folder's layout the model itself may have changed since.
_SAVED = ("pooling", "normalize", "max_length", "prompts", "default_prompt_name", "include_prompt")


class SentenceTransformer(nn.Module):
    """Token ids in, one vector a text out: backbone, then pool, project and normalise, in that order.

    The model is whole: it carries what saving and encoding need.

    Attributes:
        backbone: token ids [B, T] -> token states [B, T, H].
        pooling: tuple of modes, concatenated.
        projection: `nn.Sequential` of `Projection`, possibly empty; given as one or as several.
        normalize: scale each vector to unit length.
        tokenizer, prompts, default_prompt_name, include_prompt, max_length: as `save_pretrained` writes them.
        folder, source: where it was loaded from, and the name it was asked for by; `None` where built by hand.
    """

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: Any,
        *,
        pooling: Pooling = "mean",
        projection: Projection | Sequence[Projection] = (),
        normalize: bool = True,
        max_length: int | None = None,
        layout: checkpoint.Layout | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.pooling = pooling_modes(pooling)
        self.projection = nn.Sequential(*([projection] if isinstance(projection, Projection) else projection))
        self.normalize = normalize
        self._layout = layout or checkpoint.Layout(transformer=Path())
        self.prompts: dict[str, str] = dict(self._layout.prompts)
        self.default_prompt_name = self._layout.default_prompt_name
        self.include_prompt = self._layout.include_prompt
        self.max_length = max_length or _default_limit(backbone, tokenizer)
        self.folder: Path | None = None
        self.source: str | None = None
        width = backbone.width * len(self.pooling)
        for part in self.projections:
            if part.in_features != width:
                raise ValueError(f"the projection takes {part.in_features} numbers, but {width} come in")
            width = part.out_features

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        pooling: Pooling | None = None,
        output_dim: int | None = None,
        normalize: bool = True,
        attention: str = "auto",
        dtype: str = "float32",
        revision: str | None = None,
    ) -> SentenceTransformer:
        """Load a sentence-transformers folder or a plain Hugging Face one, in eval mode. No code in it is run.

        Args:
            name_or_path: a folder, or a name that is found in an installed package, the local hub cache or the hub.
            pooling: a mode or a tuple of modes; `None` takes what the checkpoint declares, else mean.
            output_dim: `None` takes what the checkpoint declares; a number takes its trained head of that size, or
                builds an untrained projection, with a warning, where the checkpoint has no heads at all.
            normalize: scale to unit length, whether or not the checkpoint has a Normalize module.
            attention: "auto", "bidirectional" or "causal"; see `stlib.backbone.load_backbone`.
            dtype: of the backbone: "float32", "bfloat16" or "int8" (weights stay float32; an encoder multiplies in
                8 bits where the processor can, else in float32). Pooling and projection are float32 in any case.
            revision: of a model on the hub.

        Raises:
            ValueError: an argument outside what is allowed, or a folder that is damaged or not understood.
            FileNotFoundError: no such model.
        """
        checks.choice("attention", attention, ATTENTION)
        checks.choice("dtype", dtype, tuple(DTYPES))
        modes = None if pooling is None else pooling_modes(pooling)
        if output_dim is not None:
            checks.positive_integer("output_dim", output_dim)
        with collection_paused():
            folder = hub.resolve(name_or_path, revision)
            layout = checkpoint.read_layout(folder)
            tokenizer = load_tokenizer(layout.transformer, lower_case=layout.lower_case)
            backbone = load_backbone(
                layout.transformer,
                pad_id=tokenizer.pad_token_id,
                attention=attention,
                dtype=dtype,
                declares_mean=layout.pooling == ("mean",),
            )
            modes = modes or layout.pooling or ("mean",)
            parts = _choose_projection(layout, output_dim, backbone.width * len(modes), folder)
            limit = min(filter(None, (layout.max_length or _default_limit(backbone, tokenizer), backbone.positions)))
            model = cls(
                backbone, tokenizer, pooling=modes, projection=parts, normalize=normalize, max_length=limit,
                layout=layout,
            )  # fmt: skip
        model.folder, model.source = folder, os.fspath(name_or_path)
        return model.eval()

    @property
    def projections(self) -> list[Projection]:
        """The linear maps after pooling, in order; often none."""
        return [part for part in self.projection if isinstance(part, Projection)]

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""
        return ([self.backbone.width * len(self.pooling)] + [part.out_features for part in self.projections])[-1]

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Token ids [B, T] and mask [B, T] -> vectors [B, D] in float32. Differentiable; padded on either side."""
        return self.head(self.backbone(input_ids, attention_mask), attention_mask)

    def head(self, token_states: Tensor, attention_mask: Tensor | None = None, *, skip: int = 0) -> Tensor:
        """Pool all tokens but the first `skip`, project, normalise: [B, T, H], [B, T] -> [B, D] in float32."""
        vectors = pool(
            token_states.float(), attention_mask, self.pooling, skip=skip
        )  # float32 from here, whatever the backbone
        vectors = self.projection(vectors)
        return functional.normalize(vectors, dim=-1) if self.normalize else vectors

    def prompt(self, prompt: str | None = None, prompt_name: str | None = None) -> str:
        """What to put before each text: `prompt`, or the one of that name, or the model's default; often nothing."""
        if prompt is not None and prompt_name is not None:
            raise ValueError("give prompt or prompt_name, not both")
        if prompt is not None:
            return checks.text("prompt", prompt)
        name = prompt_name if prompt_name is not None else self.default_prompt_name
        if name is None:
            return ""
        if name not in self.prompts:
            raise ValueError(f"prompt_name={name!r} is not among the model's prompts: {list(self.prompts)}")
        return self.prompts[name]

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that sentence-transformers and `from_pretrained` load to the same vectors.

        It is written beside and renamed: what stood there before stays until the new one is whole. A model that is
        there is replaced; files that this package did not write are kept. Weights are written in the backbone's type:
        a bfloat16 model gives the same vectors again with `dtype="bfloat16"`.

        Raises:
            ValueError: the folder holds something else than a model, or what would be read as part of this one.
        """
        if self.backbone.config.is_encoder_decoder:
            warn("sentence-transformers reads the decoder's states from this folder; stlib reads the encoder's")
        layout = dataclasses.replace(self._layout, **{name: getattr(self, name) for name in _SAVED})

        def fill(fresh: Path) -> None:
            self.backbone.save(fresh)
            save_tokenizer(self.tokenizer, fresh, self.max_length)
            checkpoint.write_layout(fresh, layout, self.projections, self.backbone.width)

        replace_model(Path(folder), fill)


def _default_limit(backbone: Backbone, tokenizer: Any) -> int:
    """Tokens a text: what the tokenizer says, at most what the model has positions for; 512 where neither says."""
    stated = getattr(tokenizer, "model_max_length", None)
    limits = [limit for limit in (stated, backbone.positions) if limit is not None and 0 < limit < 10**9]
    return int(min(limits, default=512))


def _choose_projection(layout: checkpoint.Layout, output_dim: int | None, width: int, folder: Path) -> list[Projection]:
    """The declared Dense modules, or the trained head of size `output_dim`, or an untrained projection."""
    places, trained = layout.dense, checkpoint.trained_heads(layout)
    if output_dim is not None and not trained:
        warn(f"output_dim={output_dim}: the checkpoint has no head; this one, {width} to {output_dim}, is untrained")
        return [Projection(width, output_dim)]
    if output_dim is not None:
        if output_dim not in trained:
            raise ValueError(
                f"output_dim={output_dim}: {folder} has no trained head of that size, only {sorted(trained)}"
            )
        places = trained[output_dim]
    return [checkpoint.read_projection(place) for place in places]
