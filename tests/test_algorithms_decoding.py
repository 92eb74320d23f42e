"""Laws of codes and of sum-product decoding: exact on trees, symmetric, better when taught."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import optax
import pytest

from tenkai import InputError
from tenkai.algorithms import (
    bch,
    bit_cross_entropy,
    codewords,
    cyclic_code,
    generator_matrix,
    regular_ldpc,
    sum_product,
    symbol_errors,
)

# Checks {0, 1, 2}, {2, 3}, {3, 4, 5}: a tree.
TREE = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1]])


def words(generator: np.ndarray) -> np.ndarray:
    """All codewords."""
    return np.array(list(itertools.product((0, 1), repeat=len(generator)))) @ generator % 2


def marginals(parity: np.ndarray, llr: np.ndarray) -> np.ndarray:
    """Posterior log-likelihood ratios by summing over all codewords."""
    code = words(generator_matrix(parity))
    score = np.exp((0.5 - code) @ llr)
    return np.log(score @ (code == 0)) - np.log(score @ (code == 1))


def test_on_a_tree_sum_product_is_the_exact_marginal() -> None:
    llr = np.random.default_rng(0).normal(scale=2, size=(20, 6))
    exact = np.stack([marginals(TREE, row) for row in llr])
    np.testing.assert_allclose(sum_product(TREE, 3)(llr), exact, atol=1e-10)


def test_the_published_example() -> None:
    """Wadayama, Foundations of error correction (in Japanese), exercise 14.4."""
    y = np.array([1.620803, 0.264281, -0.031637, -0.127654, 0.746347, 1.003543])
    published = [4.397419, 1.692525, 1.711101, 1.711101, 2.083965, 2.703277]
    np.testing.assert_allclose(
        sum_product(TREE, 3)(2 * y[None] / 0.794328)[0], published, atol=2e-6
    )


@pytest.mark.parametrize(
    "parity",
    [TREE, cyclic_code(0b1011, 7), bch(15, 7), bch(31, 16), regular_ldpc(60, 3, 6, seed=1)],
    ids=["tree", "Hamming", "BCH 15", "BCH 31", "LDPC"],
)
def test_generator_and_parity_check_matrix_are_orthogonal(parity: np.ndarray) -> None:
    G = generator_matrix(parity)
    assert not (parity @ G.T % 2).any()
    assert len(G) >= parity.shape[1] - len(parity)
    # The rows are independent: an identity stands in some columns.
    assert (G.sum(0) == 1).sum() >= len(G)
    llr, x = sum_product(parity).draw(codewords(G, 0.5), 50)
    assert not (parity @ (x < 0).T % 2).any()
    assert llr.shape == x.shape == (50, parity.shape[1])


@pytest.mark.parametrize(("n", "k", "distance"), [(7, 4, 3), (15, 11, 3), (15, 7, 5), (15, 5, 7)])
def test_bch_codes_have_their_distance(n: int, k: int, distance: int) -> None:
    G = generator_matrix(bch(n, k))
    assert G.shape == (k, n)
    assert words(G).sum(1)[1:].min() == distance


def test_bch_31_16_is_the_code_of_its_generator_polynomial() -> None:
    H = bch(31, 16)
    np.testing.assert_array_equal(H, cyclic_code(0o107657, 31))
    assert H.shape == (15, 31)
    assert H.sum() == 120
    np.testing.assert_array_equal(np.flatnonzero(H[0]), [0, 4, 5, 6, 7, 12, 15, 16])
    assert words(generator_matrix(H)).sum(1)[1:].min() == 7


def test_a_random_regular_code_is_regular_and_seeded() -> None:
    H = regular_ldpc(48, 3, 6, seed=3)
    assert (H.sum(0) == 3).all()
    assert (H.sum(1) == 6).all()
    np.testing.assert_array_equal(H, regular_ldpc(48, 3, 6, seed=3))
    assert (regular_ldpc(48, 3, 6, seed=4) != H).any()


def test_the_decoder_is_symmetric_under_addition_of_codewords() -> None:
    """So the error does not depend on the word: training on the zero word alone is legitimate."""
    H = bch(31, 16)
    G = generator_matrix(H)
    decoder = sum_product(H)
    draw = np.random.default_rng(1)
    decoder.parameters_["weight"][:] = draw.uniform(0.5, 1.5, decoder.parameters_["weight"].shape)
    signs = 1 - 2 * (draw.integers(0, 2, (30, 16)) @ G % 2)
    llr = draw.normal(4, 3, (30, 31))
    np.testing.assert_allclose(decoder(signs * llr), signs * decoder(llr), atol=1e-9)


def test_a_decoder_that_learned_from_the_zero_word_decodes_all_words() -> None:
    H = bch(15, 7)
    G = generator_matrix(H)
    decoder = sum_product(H, 4, precision="float32")
    llr, x = decoder.draw(codewords(G, 0.65), 20_000)
    before = decoder.error(llr, x, loss=bit_cross_entropy)[-1]
    zero = codewords(np.zeros((1, 15)), 0.65)
    rule = optax.adam(2e-2)
    decoder.fit(zero, steps=300, batch=100, loss=bit_cross_entropy, rule=rule)
    assert decoder.fit_.status.ok
    assert decoder.error(llr, x, loss=bit_cross_entropy)[-1] < 0.97 * before
    assert symbol_errors(decoder(llr), x).mean() < symbol_errors(llr, x).mean() / 2


def test_messages_that_are_zero_or_certain_have_gradients() -> None:
    decoder = sum_product(TREE, 3)
    rows = np.array([[0.0, 0, 5, -5, 0, 0], [400.0, -400, 400, 400, 0, -400]] * 2)
    decoder.fit((rows, np.sign(rows)), steps=3, batch=4, loss=bit_cross_entropy)
    assert np.isfinite(decoder.parameters_["weight"]).all()
    assert (decoder.parameters_["weight"] != 1).any()
    assert np.isfinite(decoder(rows)).all()


def test_an_irregular_code_agrees_with_messages_passed_one_by_one() -> None:
    draw = np.random.default_rng(5)
    H = bch(7, 4)
    check, bit = np.nonzero(H)
    decoder = sum_product(H, 3)
    decoder.parameters_["weight"][:] = draw.uniform(0.5, 1.5, (3, len(bit)))
    llr = draw.normal(1, 2, 7)
    alpha = np.zeros(len(bit))
    for layer in range(3):
        beta = np.array([
            llr[bit[e]] + sum(alpha[f] for f in range(len(bit)) if bit[f] == bit[e] and f != e)
            for e in range(len(bit))
        ]) * decoder.parameters_["weight"][layer]  # fmt: skip
        alpha = np.array([
            2 * np.arctanh(np.prod([
                np.tanh(beta[f] / 2) for f in range(len(bit)) if check[f] == check[e] and f != e
            ]))
            for e in range(len(bit))
        ])  # fmt: skip
    expected = llr + np.array([alpha[bit == i].sum() for i in range(7)])
    np.testing.assert_allclose(decoder(llr[None])[0], expected, atol=1e-10)


def test_more_iterations_decode_a_sparse_code_better() -> None:
    H = regular_ldpc(240, 3, 6, seed=2)
    decoder = sum_product(H, 30, precision="float32")
    llr, x = decoder.draw(codewords(generator_matrix(H), 0.72), 400)
    wrong = symbol_errors(decoder.path(llr), x).mean((1, 2))
    assert wrong[30] < wrong[5] < wrong[0]
    assert wrong[30] < wrong[0] / 20


def test_training_is_deterministic() -> None:
    noisy = codewords(generator_matrix(bch(15, 7)), 0.6)
    one, two = (
        sum_product(bch(15, 7)).fit(noisy, steps=5, loss=bit_cross_entropy) for _ in range(2)
    )
    np.testing.assert_array_equal(one.parameters_["weight"], two.parameters_["weight"])


def test_the_channel_has_the_noise_it_says() -> None:
    llr, x = sum_product(TREE).draw(codewords(generator_matrix(TREE), 0.4), 20_000)
    noise = llr * 0.4**2 / 2 - x
    assert np.std(noise) == pytest.approx(0.4, rel=0.01)
    assert abs(np.mean(x)) < 0.02  # words are uniform, and so is every bit


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: sum_product([[1, 2], [0, 1]]), "got other values"),
        (lambda: sum_product([[1, 0], [1, 0]]), "a zero column, 1"),
        (lambda: sum_product(np.ones(3)), r"shape \(3,\)"),
        (lambda: bch(32, 16), "n: expected 2\\^m - 1"),
        (lambda: bch(31, 17), "one of 26, 21, 16, 11, 6, 1 for n = 31"),
        (lambda: cyclic_code(0b1111, 7), r"a divisor of x\^7 - 1"),
        (lambda: cyclic_code(0, 7), "generator"),
        (lambda: regular_ldpc(10, 3, 6), "divisor of n = 10"),
        (lambda: generator_matrix(np.eye(3)), "fewer independent checks"),
        (lambda: codewords(np.full((2, 3), 2), 0.5), "generator: expected"),
        (lambda: codewords(np.ones((2, 3)), 0.0), "noise: expected a number above 0"),
    ],
)
def test_wrong_arguments_are_one_line(make, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_the_cross_entropy_is_minus_the_log_probability() -> None:
    llr = np.array([0.3, -2.0, 800.0])
    x = np.array([1.0, -1.0, -1.0])
    with jax.enable_x64(True):
        ours = float(bit_cross_entropy(llr, x))
    assert ours == pytest.approx(np.log1p(np.exp(-0.3)) + np.log1p(np.exp(-2.0)) + 800.0)


def test_the_reproduced_table_of_decoding(tmp_path) -> None:
    from tenkai.reproduce import Task, du_decoding

    task = Task(out=tmp_path)
    rows = {r.quantity: r for r in du_decoding.run(task, steps=30, errors=1, most=1)}
    bits, blocks = (rows[f"{of} error rate, plain sum-product"].ours for of in ("bit", "block"))
    assert 0 < bits < blocks < 0.01
    assert rows["block error rate, union bound of the best decoder"].ours < blocks
    low, high = du_decoding.wilson(10, 1000)
    assert low == pytest.approx(0.00544, abs=1e-5)  # tabulated
    assert high == pytest.approx(0.01831, abs=1e-5)
    assert (tmp_path / "du-decoding.png").stat().st_size > 10_000
