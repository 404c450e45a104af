"""The base of families that compare pictures with texts, each tokenized for itself: CLIP and OWL."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import Field

from hotswap.errors import BadRequest
from hotswap.predictions import Options
from runners.families.base import Family, Parameters
from runners.text_prompt import LabelTokenizer, phrases_of

#: Texts of one request.
_MOST_TEXTS = 1000


class TextParameters(Parameters):
    """The texts of labels."""

    template: str = Field(
        default="a photo of a {}", max_length=200, description="the text of a label; {} stands for the label"
    )
    max_length: int = Field(default=77, ge=3, le=1024, description="most tokens of a text")


T = TypeVar("T", bound=TextParameters)


class ComparedTexts(Family[T]):
    """The texts are the phrases of the request's prompt, else the config's labels."""

    labelled = False
    tokenized = True
    fed = ("input_ids", "attention_mask")
    #: Whether every text is filled up to the parameter `max_length`, not only to the longest.
    filled: ClassVar[bool] = False

    def prepare(self, folder: Path) -> None:
        """See `Family.prepare`: the tokenizer."""
        file = folder / str(self.config.tokenizer)
        self.tokenizer = LabelTokenizer(file, self.parameters.max_length, filled=self.filled)

    def check_options(self) -> Options:
        """See `Family.check_options`."""
        return Options(threshold=0.0, text_prompt=None if self.config.labels else "a thing . another thing .")

    def accept(self, options: Options) -> None:
        """See `Family.accept`; without a prompt the config's labels are compared."""
        super().accept(options)
        self.phrases(options)

    def phrases(self, options: Options) -> tuple[str, ...]:
        """What the answer calls the texts: the phrases of the prompt, or the labels. Raises `BadRequest`."""
        if options.text_prompt is None:
            if self.config.labels:
                return tuple(self.config.labels)
            raise BadRequest('text_prompt: missing; name the texts to compare, such as "a bird . a cat ."')
        phrases = phrases_of(options.text_prompt)
        if not phrases:
            raise BadRequest('text_prompt: it has no phrase; name the texts, such as "a bird . a cat ."')
        if len(phrases) > _MOST_TEXTS:
            raise BadRequest(f"text_prompt: it has {len(phrases)} phrases; at most {_MOST_TEXTS} are allowed")
        return phrases

    def texts(self, options: Options) -> tuple[str, ...]:
        """The texts that are compared: phrases as they are, labels in the template."""
        named = self.phrases(options)
        if options.text_prompt is not None:
            return named
        return tuple(self.parameters.template.replace("{}", name) for name in named)
