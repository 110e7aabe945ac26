"""Tokens and the bytes they stand for."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.content import (
    BORN_BLOCK_BITS,
    FIRST_LITERAL,
    ZERO,
    LiteralPool,
    TokenKind,
    born,
    describe,
    digest,
    first_wrong,
    kind_of,
    known_zeros,
    render,
    written,
    zeros,
)

BLOCK = 4096
SECTOR = 512
EMPTY = np.empty((0, BLOCK // 8), np.uint64)

born_tokens = st.builds(born, st.integers(1, 2**20 - 1), st.integers(0, 2**42 - 1))
written_tokens = st.builds(written, st.integers(0, 2**62 - 1))


some_tokens_but_zeros = born_tokens | written_tokens | st.integers(FIRST_LITERAL, FIRST_LITERAL + 2)
some_tokens = some_tokens_but_zeros | st.sampled_from([0, ZERO])
LITERALS = np.arange(3 * BLOCK // 8, dtype=np.uint64).reshape(3, -1)


def rendered(*tokens, block=BLOCK, literals=EMPTY):
    return render(np.array(tokens, np.uint64), block, literals)


@pytest.mark.plain
@given(st.lists(born_tokens | written_tokens, min_size=1, max_size=4))
def test_each_sector_starts_with_its_token_and_its_number(tokens):
    sectors = rendered(*tokens).reshape(len(tokens), -1, SECTOR)
    heads = np.ascontiguousarray(sectors[:, :, :16]).view(np.uint64)
    assert heads[:, :, 0].tolist() == [[token] * (BLOCK // SECTOR) for token in tokens]
    assert heads[:, :, 1].tolist() == [list(range(BLOCK // SECTOR))] * len(tokens)


@pytest.mark.plain
@given(st.lists(born_tokens | written_tokens, min_size=2, max_size=6), st.randoms())
def test_bytes_are_a_function_of_the_token_alone(tokens, random):
    order = list(range(len(tokens)))
    random.shuffle(order)
    straight, shuffled = rendered(*tokens), rendered(*(tokens[i] for i in order))
    for at, i in enumerate(order):
        assert shuffled[at].tobytes() == straight[i].tobytes()
        assert rendered(tokens[i]).tobytes() == straight[i].tobytes()


@given(born_tokens | written_tokens, st.sampled_from([512, 1024, 8192]))
def test_a_sector_does_not_depend_on_the_size_of_the_block(token, block):
    literals = np.empty((0, block // 8), np.uint64)
    whole, short = rendered(token, block=8192), rendered(token, block=block, literals=literals)
    assert whole[0, :block].tobytes() == short.tobytes()


@given(st.sets(born_tokens | written_tokens, min_size=2, max_size=8))
def test_tokens_that_differ_render_differently_in_every_sector(tokens):
    sectors = rendered(*tokens).reshape(-1, SECTOR)
    assert len({sector.tobytes() for sector in sectors}) == len(sectors)


@pytest.mark.plain
def test_nothing_and_zero_are_zeros():
    assert not rendered(ZERO, 0).any()


@given(st.integers(1, 2**20 - 1), st.integers(0, 2**42 - 1))
def test_garbage_names_its_volume_and_block(volume, block):
    token = int(rendered(born(volume, block))[0, :8].view(np.uint64)[0])
    assert kind_of(token) is TokenKind.BORN
    assert (token >> BORN_BLOCK_BITS, token & ((1 << BORN_BLOCK_BITS) - 1)) == (volume, block)
    assert describe(token) == f"stale bytes of volume {volume}, block {block}"


@pytest.mark.parametrize(("volume", "block"), [(0, 0), (1 << 20, 0), (1, -1), (1, 1 << 42)])
def test_garbage_of_no_volume_is_refused(volume, block):
    with pytest.raises(ValueError, match="does not fit"):
        born(volume, block)


def test_tokens_in_words():
    assert describe(0) == "nothing written"
    assert describe(ZERO) == "zeros"
    assert describe(written(7)) == "write 7"
    assert describe(FIRST_LITERAL | 3) == "literal 3"
    assert [kind_of(token) for token in (born(1, 0), ZERO, written(0), FIRST_LITERAL)] == list(
        TokenKind
    )


@pytest.mark.plain
@given(st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=80))
def test_literals_come_back(seeds):
    pool = LiteralPool(SECTOR)
    blocks = [(seed * SECTOR)[:SECTOR] for seed in seeds]
    tokens = []
    for at in range(0, len(blocks), 3):
        some = blocks[at : at + 3]
        first = pool.append(b"".join(some))
        tokens += range(first, first + len(some))
    assert tokens == [FIRST_LITERAL | i for i in range(len(blocks))]
    found = rendered(*tokens, block=SECTOR, literals=pool.rows)
    assert [row.tobytes() for row in found] == blocks


def test_a_literal_is_whole_blocks():
    with pytest.raises(ValueError, match="reshape"):
        LiteralPool(BLOCK).append(bytes(SECTOR))


@given(st.lists(st.sampled_from([0, ZERO]), max_size=6), st.integers(0, BLOCK))
def test_zeros_throughout_are_known_and_stay_zeros(tokens, skip):
    rows = rendered(*tokens)
    assert known_zeros(rows.reshape(-1).data[skip:])
    assert not rows.any()
    with pytest.raises(ValueError, match="read-only"):
        rows[:] = 1


@given(st.lists(some_tokens_but_zeros, min_size=1, max_size=3), st.integers(0, 3))
def test_nothing_else_is_known_as_zeros(tokens, holes):
    whole = rendered(*tokens, *[0] * holes, literals=LITERALS)
    assert not known_zeros(whole.reshape(-1).data)
    assert not known_zeros(memoryview(bytes(8)))
    assert not known_zeros(np.zeros(8, np.uint8).data)


@pytest.mark.parametrize("count", [0, 1, 8 << 20, (8 << 20) + 1])
def test_as_many_zeros_as_are_asked_for(count):
    made = zeros(count)
    assert len(made) == count
    assert not made.any()
    assert not made.flags.writeable
    assert known_zeros(made.data) == (count <= 8 << 20)


def judged(tokens, data, skip=0):
    found = np.frombuffer(bytes(skip) + data, np.uint8)[skip:]
    return first_wrong(np.array(tokens, np.uint64), found, BLOCK, LITERALS)


@pytest.mark.plain
@given(st.lists(some_tokens, max_size=6), st.integers(0, 9))
def test_what_was_rendered_is_right_wherever_it_lies(tokens, skip):
    data = rendered(*tokens, literals=LITERALS).tobytes()
    assert judged(tokens, data, skip) is None


@pytest.mark.plain
@given(st.data(), st.lists(some_tokens, min_size=1, max_size=6))
def test_the_first_of_wrong_blocks_is_found_by_any_bit(data, tokens):
    spoiled = bytearray(rendered(*tokens, literals=LITERALS).tobytes())
    places = data.draw(st.lists(st.integers(0, len(spoiled) - 1), min_size=1, max_size=3))
    for at in set(places):
        spoiled[at] ^= 1 << data.draw(st.integers(0, 7))
    assert judged(tokens, bytes(spoiled)) == min(places) // BLOCK


@pytest.mark.plain
@given(st.lists(some_tokens, min_size=1, max_size=4), st.data())
def test_another_token_is_wrong_unless_it_renders_the_same(tokens, data):
    at = data.draw(st.integers(0, len(tokens) - 1))
    other = data.draw(some_tokens)
    there = rendered(*tokens, literals=LITERALS).tobytes()
    meant = [*tokens[:at], other, *tokens[at + 1 :]]
    same = rendered(*meant, literals=LITERALS).tobytes() == there
    assert judged(meant, there) == (None if same else at)


@given(st.lists(born_tokens | written_tokens | st.just(ZERO), max_size=12))
def test_a_digest_is_that_of_the_bytes(tokens):
    expected = hashlib.sha256(rendered(*tokens).tobytes()).hexdigest()
    assert digest(np.array(tokens, np.uint64), BLOCK, EMPTY) == expected


def test_a_digest_of_more_than_one_helping():
    tokens = np.arange(written(0), written(2500), dtype=np.uint64)
    expected = hashlib.sha256(render(tokens, BLOCK, EMPTY).tobytes()).hexdigest()
    assert digest(tokens, BLOCK, EMPTY) == expected


@pytest.mark.parametrize("level", [1, 3, 9])
@pytest.mark.parametrize("step", [1, 97])
def test_content_compresses_to_about_one_half(level, step):
    """Compressors see 4 MiB at once: were the tape short, they would find it again."""
    tokens = np.arange(written(10**6), written(10**6) + 1024 * step, step, dtype=np.uint64)
    data = render(tokens, BLOCK, EMPTY).tobytes()
    ratio = len(zstandard.ZstdCompressor(level=level).compress(data)) / len(data)
    assert 0.40 < ratio < 0.55
