"""Grounding DINO: the prompt's phrases and tokens, and answers held against the original library's."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotswap.errors import BadRequest, ModelFailed, VersionFailed
from hotswap.predictions import Options
from manifest.version_manifest import BadManifest, parse_config
from runners.families.grounding_dino import GroundingDino
from runners.families.index import family_of
from runners.geometry import place
from runners.graph_check import GraphTensor
from runners.text_prompt import PhraseTokenizer, phrases_of
from tests.runners.references import IMAGENET, Reference, answer, match

CONFIG: dict[str, Any] = {
    "task": "open-vocabulary-detection",
    "family": "grounding-dino",
    "tokenizer": "tokenizer.json",
    "input": {"name": "pixel_values", "width": 800, "height": 800, **IMAGENET},
}
#: A WordPiece tokenizer with a handful of words.
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "bird", "red", "fox", "##es"]
PICTURE = place("stretch", (200, 100), (800, 800))


@pytest.fixture
def family(tmp_path: Path) -> GroundingDino:
    _write_tokenizer(tmp_path / "tokenizer.json")
    family = family_of(parse_config(json.dumps(CONFIG)))
    assert isinstance(family, GroundingDino)
    family.prepare(tmp_path)
    family.connect(_inputs("input_ids", "token_type_ids", "attention_mask", mask=(1, 800, 800)))
    return family


def _inputs(*names: str, **shapes: Any) -> list[GraphTensor]:
    """Inputs int64 [1, L] of these names, others with their shapes, and the pictures'."""
    texts = [GraphTensor(name, "tensor(int64)", (1, "L")) for name in names]
    masks = [GraphTensor("pixel_mask", "tensor(int64)", shapes[name]) for name in shapes if name == "mask"]
    return [GraphTensor("pixel_values", "tensor(float)", (1, 3, 800, 800)), *texts, *masks]


def _write_tokenizer(file: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(file))


def _logits(*rows: dict[int, float]) -> np.ndarray[Any, Any]:
    """Logits [Q, 256] with these probabilities by column."""
    logits = np.full((len(rows), 256), -np.inf, np.float32)
    for row, columns in zip(logits, rows, strict=True):
        for column, probability in columns.items():
            row[column] = np.log(probability / (1 - probability))
    return logits


BOXES = np.array([[0.5, 0.5, 0.2, 0.4], [0.25, 0.25, 0.1, 0.1], [0.5, 0.5, 0.2, 0.4]], np.float32)


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("bird . cat .", ("bird", "cat")),
        ("  Bird.cat", ("bird", "cat")),
        ("a  photo\nof a bird", ("a photo of a bird",)),
        ("cat. bird. cat.", ("cat", "bird")),
        (" . . ", ()),
        ("🐦.", ("🐦",)),
    ],
)
def test_phrases_end_at_full_stops(text: str, phrases: tuple[str, ...]) -> None:
    assert phrases_of(text) == phrases


def test_the_inputs_of_a_prompt(family: GroundingDino) -> None:
    # [CLS] bird . red fox ##es . [SEP], and none of the file's truncation and padding
    fed = family.feed([PICTURE, PICTURE], Options(text_prompt="Bird. red foxes"))
    ids = [[2, 5, 4, 6, 7, 8, 4, 3]] * 2
    names = ("input_ids", "token_type_ids", "attention_mask", "pixel_mask")
    assert {name: array.dtype for name, array in fed.items()} == dict.fromkeys(names, np.int64)
    assert fed["input_ids"].tolist() == ids
    assert not fed["token_type_ids"].any()
    assert fed["attention_mask"].all()
    assert (fed["pixel_mask"].shape, fed["pixel_mask"].all()) == ((2, 800, 800), True)


AUTHORS = [
    GraphTensor("img", "tensor(float)", (1, 3, "height", "width")),
    *(
        GraphTensor(name, "tensor(int64)", (1, "L"))
        for name in ("input_ids", "token_type_ids", "position_ids")
    ),
    GraphTensor("attention_mask", "tensor(bool)", (1, "L")),
    GraphTensor("text_token_mask", "tensor(bool)", (1, "L", "L")),
]


def test_the_inputs_of_the_authors_export_see_one_phrase_each(family: GroundingDino) -> None:
    family.connect(AUTHORS)
    fed = family.feed([PICTURE], Options(text_prompt="Bird. red foxes"))
    assert fed["position_ids"].tolist() == [[0, 0, 1, 0, 1, 2, 3, 0]]
    assert fed["attention_mask"].tolist() == [[True] * 8]
    sees = fed["text_token_mask"]
    assert (sees.shape, sees.dtype) == ((1, 8, 8), np.bool_)
    assert [np.flatnonzero(row).tolist() for row in sees[0]] == [
        [0],
        *[[1, 2]] * 2,
        *[[3, 4, 5, 6]] * 4,
        [7],
    ]
    assert family.reads(["logits", "boxes"]) == ("logits", "boxes")
    assert family.reads(["boxes", "logits"]) == ("logits", "boxes")


def test_a_text_of_fixed_length_is_filled(family: GroundingDino) -> None:
    sides = {"attention_mask": (1, 10, 10), "text_token_mask": (1, 10)}
    family.connect(
        [GraphTensor("input_ids", "tensor(int64)", (1, 10))]
        + [GraphTensor(name, "tensor(bool)", shape) for name, shape in sides.items()]
    )
    fed = family.feed([PICTURE], Options(text_prompt="Bird. red foxes"))
    assert fed["input_ids"].tolist() == [[2, 5, 4, 6, 7, 8, 4, 3, 0, 0]]
    assert fed["text_token_mask"].tolist() == [[True] * 8 + [False] * 2]
    assert np.flatnonzero(fed["attention_mask"][0, 9]).tolist() == [9]
    with pytest.raises(BadRequest, match="it has 12 tokens; the graph takes 10"):
        family.feed([PICTURE], Options(text_prompt="bird. red foxes. red. fox"))


def test_the_mask_shows_where_the_picture_lies(family: GroundingDino) -> None:
    wide = place("letterbox", (200, 100), (800, 800))
    (mask,) = family.feed([wide], Options(text_prompt="bird"))["pixel_mask"]
    assert (mask[:400].all(), mask[400:].any()) == (True, False)
    family.connect(_inputs("input_ids", mask=(1, 64, 64)))
    (mask,) = family.feed([wide], Options(text_prompt="bird"))["pixel_mask"]
    assert (mask.shape, mask[:32].all(), mask[32:].any()) == ((64, 64), True, False)


def test_a_box_is_named_by_the_phrase_whose_tokens_sum_up_highest(family: GroundingDino) -> None:
    # columns: 0 [CLS], 1 bird, 2 ".", 3 red, 4 fox, 5 ##es, 6 ".", 7 [SEP]
    logits = _logits({1: 0.6, 3: 0.4, 4: 0.35, 5: 0.2}, {1: 0.31, 2: 0.9}, {1: 0.29, 7: 0.28})
    options = Options(text_prompt="bird. red foxes")
    found = family.find({"logits": logits, "pred_boxes": BOXES}, PICTURE, options).detections
    # 0.4 + 0.35 is more than 0.6; ##es lies below the threshold of words; the third has no score above 0.3
    assert [(each.label, each.label_id, each.phrase) for each in found] == [
        ("bird", 0, "bird."),
        ("red foxes", 1, "bird red fox"),
    ]
    assert [each.score for each in found] == pytest.approx([0.9, 0.6])
    assert found[1].bbox == pytest.approx((0.4, 0.3, 0.6, 0.7))


def test_thresholds_and_suppression_are_the_requests(family: GroundingDino) -> None:
    logits = _logits({1: 0.6}, {1: 0.5}, {1: 0.4})
    outputs = {"logits": logits, "pred_boxes": BOXES}

    def scores(**options: Any) -> list[float]:
        asked = Options(text_prompt="bird.", **options)
        return [round(each.score, 3) for each in family.find(outputs, PICTURE, asked).detections]

    assert scores() == [0.6, 0.5, 0.4]
    assert scores(threshold=0.45) == [0.6, 0.5]
    assert scores(nms_threshold=0.5) == [0.6, 0.5]  # the third lies on the first
    assert scores(max_detections=1) == [0.6]
    (one, *_) = family.find(outputs, PICTURE, Options(text_prompt="bird.", text_threshold=0.7)).detections
    assert (one.label, one.phrase) == ("bird", "")


def test_a_prompt_is_needed_and_bounded(family: GroundingDino, tmp_path: Path) -> None:
    for prompt in (None, " . "):
        with pytest.raises(BadRequest, match=r"^text_prompt: "):
            family.accept(Options(text_prompt=prompt))
    family.accept(Options(text_prompt=" . ".join(f"bird {'red ' * i}" for i in range(14))))
    many = " . ".join(f"bird {'red ' * i}" for i in range(30))
    with pytest.raises(BadRequest, match=r"its 30 phrases have \d+ tokens; at most 256"):
        family.accept(Options(text_prompt=many))
    own = family_of(parse_config(json.dumps(CONFIG | {"output": {"parameters": {"text_prompt": "fox ."}}})))
    own.prepare(tmp_path)
    own.connect(_inputs("input_ids"))
    own.accept(Options())
    assert own.feed([PICTURE], Options())["input_ids"].tolist() == [[2, 7, 4, 3]]


def test_options_of_other_families_are_refused(family: GroundingDino) -> None:
    with pytest.raises(BadRequest, match="points: family 'grounding-dino' takes no such option"):
        family.accept(Options(text_prompt="bird.", points=((0.5, 0.5, 1),)))
    with pytest.raises(BadRequest, match="top_k"):
        family.accept(Options(text_prompt="bird.", top_k=3))


def test_outputs_of_another_graph_are_refused(family: GroundingDino) -> None:
    good = _logits({1: 0.5})
    for logits, boxes in ((good[:, :80], BOXES[:1]), (good, BOXES), (good, BOXES[:1, :2])):
        with pytest.raises(ModelFailed):
            family.check({"logits": logits, "pred_boxes": boxes})


def test_a_config_names_a_tokenizer_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match="tokenizer: family 'grounding-dino' needs one"):
        family_of(parse_config(json.dumps({**CONFIG, "tokenizer": None})))
    with pytest.raises(BadManifest, match="inside the version's folder"):
        parse_config(json.dumps({**CONFIG, "tokenizer": "../tokenizer.json"}))
    (tmp_path / "tokenizer.json").write_text('{"model": 5}')
    with pytest.raises(VersionFailed, match=r"tokenizer.json cannot be read as a tokenizer"):
        PhraseTokenizer(tmp_path / "tokenizer.json", 256)
    with pytest.raises(VersionFailed, match=r"cannot be read"):
        PhraseTokenizer(tmp_path / "none.json", 256)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.of("grounding_dino")


def _asked(expected: Any, **changes: Any) -> Options:
    return Options(
        threshold=expected["threshold"],
        text_threshold=expected["text_threshold"],
        text_prompt=expected["prompt"],
        max_detections=1000,
        **changes,
    )


def test_tokens_are_those_of_the_original(reference: Reference) -> None:
    tokenizer = PhraseTokenizer(reference.folder / "tokenizer.json", 256)
    for asked in reference.pictures():
        prompt = tokenizer.prompt(asked.expected["prompt"])
        assert prompt.ids.tolist() == asked.expected["input_ids"]
        places = [np.flatnonzero(prompt.phrase_of == i).tolist() for i in range(len(prompt.phrases))]
        assert places == asked.expected["phrase_token_positions"]


@pytest.mark.slow
def test_answers_are_those_of_the_original(reference: Reference) -> None:
    runner = reference.load(CONFIG)
    for asked in reference.pictures():
        found = answer(runner, asked, _asked(asked.expected)).detections
        assert match(found, asked).good, (asked.expected["file"], match(found, asked))
        assert sorted(each.phrase or "" for each in found) == sorted(
            each["text_label"] for each in asked.expected["detections"]
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistake",
    [
        {"colour_order": "BGR"},
        {"scale": 1.0},
        {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        {"mean": None, "std": None},
        {"resize": {"kernel": "bicubic"}},
        {"resize": {"kernel": "nearest"}},
        {"resize": {"mode": "letterbox"}},
    ],
    ids=lambda mistake: " ".join(map(str, mistake)),
)
def test_a_mistake_of_preprocessing_moves_the_answers(reference: Reference, mistake: dict[str, Any]) -> None:
    runner = reference.load({**CONFIG, "input": {**CONFIG["input"], **mistake}})
    assert not all(
        match(answer(runner, asked, _asked(asked.expected)).detections, asked).good
        for asked in islice(reference.pictures(), 2)
    )


@pytest.mark.slow
def test_a_mistake_of_tokens_moves_the_answers(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = reference.load(CONFIG)
    feed = runner._family.feed

    def shifted(placed: Any, options: Options) -> Any:
        fed = feed(placed, options)
        return {**fed, "input_ids": fed["input_ids"] + 1}

    monkeypatch.setattr(runner._family, "feed", shifted)
    asked = next(reference.pictures())
    assert not match(answer(runner, asked, _asked(asked.expected)).detections, asked).good
