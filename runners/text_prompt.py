"""Text prompts: phrases, and their tokens by the version's own `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hotswap.errors import BadRequest, VersionFailed
from runners.graph_check import GraphTensor
from runners.tensors import numpy_type

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

#: Prompts whose tokens are kept.
_KEPT = 64
_LARGEST_BYTES = 50_000_000
#: Tokens that end a block of text, for Grounding DINO.
_ENDS = ("[CLS]", "[SEP]", ".", "?")


@dataclass(frozen=True, slots=True)
class Prompt:
    """The phrases of a text prompt, and its tokens.

    `ids` int64 [L] are the tokens with those that begin and end a text. `phrase_of` int64 [L] gives for each
    token the phrase that it belongs to, -1 for tokens between phrases. `ends` [L] are the tokens that end a
    block of text: `[CLS]`, `[SEP]`, "." and "?".
    """

    text: str
    phrases: tuple[str, ...]
    ids: NDArray[np.int64]
    phrase_of: NDArray[np.int64]
    ends: NDArray[np.bool_]

    @property
    def blocks(self) -> NDArray[np.int64]:
        """The block of each token [L]: it goes up to the token that ends it; the first and last are alone."""
        blocks: NDArray[np.int64] = np.cumsum(np.append(False, self.ends[:-1]))
        return blocks


def phrases_of(text: str) -> tuple[str, ...]:
    """The phrases of a prompt such as "bird . cat .": in lower case, without spaces around and doubles."""
    cleaned = (" ".join(phrase.split()) for phrase in text.lower().split("."))
    return tuple(dict.fromkeys(phrase for phrase in cleaned if phrase))


class PhraseTokenizer:
    """Tokenizes prompts of several phrases as one text, as Grounding DINO takes them.

    May be used by several threads at once.
    """

    def __init__(self, file: Path, most_tokens: int) -> None:
        """Read a `tokenizer.json`. Raises `VersionFailed`."""
        self._tokenizer = read_tokenizer(file)
        self._most = most_tokens
        known = (self._tokenizer.token_to_id(token) for token in _ENDS)
        self._ends = [token for token in known if token is not None]
        self.prompt = lru_cache(_KEPT)(self._prompt)

    def _prompt(self, text: str) -> Prompt:
        """The prompt. Raises `BadRequest` for one without phrases or with too many tokens."""
        phrases = phrases_of(text)
        if not phrases:
            raise BadRequest('text_prompt: it has no phrase; name what to find, such as "bird . cat ."')
        joined = " . ".join(phrases) + " ."
        encoding = self._tokenizer.encode(joined)
        if len(encoding.ids) > self._most:
            raise BadRequest(
                f"text_prompt: its {len(phrases)} phrases have {len(encoding.ids)} tokens; at most "
                f"{self._most} are allowed: ask for fewer at once"
            )
        ids = np.array(encoding.ids, np.int64)
        return Prompt(joined, phrases, ids, _phrase_of(joined, encoding), np.isin(ids, self._ends))

    def text(self, ids: Sequence[int]) -> str:
        """The text of some tokens, without those that begin and end a text."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text


class LabelTokenizer:
    """Tokenizes several texts, each for itself, as CLIP takes them.

    May be used by several threads at once.
    """

    def __init__(self, file: Path, most_tokens: int, *, filled: bool = False) -> None:
        """Read a `tokenizer.json`; longer texts are cut to `most_tokens`, shorter ones filled if `filled`.

        Raises `VersionFailed`.
        """
        self._tokenizer = read_tokenizer(file)
        self._tokenizer.enable_truncation(most_tokens)
        self._tokenizer.enable_padding(pad_id=0, length=most_tokens if filled else None)

    def inputs(self, texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
        """`input_ids` and `attention_mask` [T, L], L those of the longest text, or the most."""
        encodings = self._tokenizer.encode_batch(list(texts))
        return {
            "input_ids": np.array([each.ids for each in encodings], np.int64),
            "attention_mask": np.array([each.attention_mask for each in encodings], np.int64),
        }


def read_tokenizer(file: Path) -> Tokenizer:
    """A tokenizer without truncation and padding. Raises `VersionFailed` with the reason."""
    from tokenizers import Tokenizer  # models without text need none of it

    try:
        if file.stat().st_size > _LARGEST_BYTES:
            raise VersionFailed(f"{file.name} is larger than the allowed {_LARGEST_BYTES} bytes")
        tokenizer = Tokenizer.from_str(file.read_text())
    except VersionFailed:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises plain `Exception`
        raise VersionFailed(f"{file.name} cannot be read as a tokenizer: {str(error)[:200]}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _phrase_of(text: str, encoding: Encoding) -> NDArray[np.int64]:
    """Which phrase of the joined text each token lies in: phrases end at full stops."""
    place: list[int] = []
    offsets: list[tuple[int, int]] = encoding.offsets
    special: list[int] = encoding.special_tokens_mask
    for (start, end), is_special in zip(offsets, special, strict=True):
        between = is_special or end <= start or text[start:end] == "."
        place.append(-1 if between else text.count(".", 0, start))
    return np.array(place, np.int64)


def prompt_inputs(prompt: Prompt, inputs: Sequence[GraphTensor]) -> dict[str, NDArray[Any]]:
    """Those `inputs` of a graph that are made of a prompt, for one picture: in the types and sides declared.

    Raises `BadRequest` for more tokens than a graph with a fixed number takes.
    """
    return {tensor.name: _prompt_input(prompt, tensor) for tensor in inputs}


def _prompt_input(prompt: Prompt, tensor: GraphTensor) -> NDArray[Any]:
    length, sides = len(prompt.ids), tensor.shape[1:]
    most = sides[0] if sides and isinstance(sides[0], int) else length
    if length > most:
        raise BadRequest(
            f"text_prompt: it has {length} tokens; the graph takes {most}: ask for fewer at once"
        )
    blocks = prompt.blocks
    array: NDArray[np.float64]
    if len(sides) == 2:
        # Tokens that only fill the text see themselves.
        array = np.eye(most)
        array[:length, :length] = blocks[:, None] == blocks[None, :]
    else:
        values = {
            "input_ids": prompt.ids,
            "token_type_ids": np.zeros(length),
            "position_ids": np.arange(length) - np.searchsorted(blocks, blocks),
        }
        array = np.zeros(most)
        array[:length] = values.get(tensor.name, np.ones(length))
    return array.astype(numpy_type(tensor.type))


def rows(values: NDArray[Any], count: int) -> NDArray[Any]:
    """The same row [L] for each of `count` pictures, as [count, L]."""
    return np.ascontiguousarray(np.broadcast_to(values, (count, *values.shape)))
