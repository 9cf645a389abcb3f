"""The exact path against brute-force Bayes, what its steps end at, and the distribution of its samples."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from sklearn.base import clone

from gendiffclf.transport import exact
from gendiffclf.transport.codes import CODES, label_codes
from gendiffclf.transport.exact import ExactPath, posterior, sample, walk
from gendiffclf.transport.schedules import MEAN_SCHEDULES, VARIANCE_SCHEDULES
from gendiffclf.transport.solvers import SOLVERS

PATHS = list(itertools.product(MEAN_SCHEDULES, VARIANCE_SCHEDULES))
NOISY = [(mean, variance) for mean, variance in PATHS if variance != "zero"]


def time(t: float) -> torch.Tensor:
    return torch.tensor(t, dtype=torch.float64)


def make_problem(n_rows=50, n_classes=6, width=16, seed=0, kind="sinusoidal"):
    """Probabilities (B, K), features (B, L) and codes (K, L)."""
    generator = torch.Generator().manual_seed(seed)
    p = -torch.rand(n_rows, n_classes, dtype=torch.float64, generator=generator).log()  # exponential: Dirichlet(1)
    x1 = torch.randn(n_rows, width, dtype=torch.float64, generator=generator)
    return p / p.sum(-1, keepdim=True), x1, torch.as_tensor(label_codes(kind, n_classes, width))


def nearest(states: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    return torch.cdist(states, codes).argmin(-1)


def bayes(path, p, x_t, x1, codes, t):
    """Normalised product of p and the Gaussian densities of Eq. 4, each written out."""
    means = path.position(codes[:, None], x1, t)  # (K, B, L)
    deviation = path.variance(t)[..., None].expand_as(x1)
    log_density = torch.distributions.Normal(means, deviation).log_prob(x_t).sum(-1).mT  # (K, B) -> (B, K)
    return torch.softmax(p.log() + log_density, dim=-1)


def test_parameters_are_stored_and_cloned():
    path = ExactPath()
    assert path.get_params() == {"mean": "logistic", "steepness": 10.0, "variance": "bridge", "sigma": 0.5}
    path.check()
    changed = clone(path.set_params(sigma=0.7, mean="cosine"))
    assert changed.get_params() == {"mean": "cosine", "steepness": 10.0, "variance": "bridge", "sigma": 0.7}
    assert repr(changed) == "ExactPath(mean='cosine', sigma=0.7)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": "cubic"}, r"Got mean='cubic', expected one of 'logistic', 'linear', 'cosine'\."),
        ({"steepness": -1}, r"Got steepness=-1, expected a number in \[0, 200\]\."),
        ({"variance": "bride"}, r"Got variance='bride', expected one of 'bridge', 'constant', 'zero'\."),
        ({"sigma": -1}, r"Got sigma=-1, expected a number in \(0, inf\)\."),
        ({"sigma": "1"}, r"Got sigma='1', expected a number in \(0, inf\)\."),
    ],
)
def test_parameters_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ExactPath(**changes).check()


@pytest.mark.parametrize(("mean", "variance"), NOISY)
@pytest.mark.parametrize("kind", CODES)
@given(t=st.floats(0.02, 0.98), steepness=st.floats(0, 20), sigma=st.floats(0.1, 3), seed=st.integers(0, 9))
def test_posterior_is_bayes_rule(mean, variance, kind, t, steepness, sigma, seed):
    path, t = ExactPath(mean, steepness, variance, sigma).path(), time(t)
    p, x1, codes = make_problem(8, seed=seed, kind=kind)
    noise = torch.randn(8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for x_t in (path.sample(codes[seed % 6], x1, t, noise), path.position(p @ codes, x1, t)):
        q = posterior(path, p, x_t, x1, codes, t)
        torch.testing.assert_close(q, bayes(path, p, x_t, x1, codes, t), rtol=0, atol=1e-10)


def test_posterior_takes_a_time_of_each_row():
    path, (p, x1, codes) = ExactPath().path(), make_problem(5)
    t = torch.tensor([0.0, 0.2, 0.6, 0.9, 1.0], dtype=torch.float64)
    x_t = path.position(p @ codes, x1, t)
    together = posterior(path, p, x_t, x1, codes, t)
    for row in range(5):
        torch.testing.assert_close(together[row], posterior(path, p[row], x_t[row], x1[row], codes, t[row]))


@pytest.mark.parametrize(("mean", "variance"), PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_posterior_at_the_features_is_p(mean, variance, dtype):
    p, x1, codes = (tensor.to(dtype) for tensor in make_problem())
    q = posterior(ExactPath(mean, variance=variance).path(), p, x1, x1, codes, torch.ones((), dtype=dtype))
    assert q.dtype == torch.float64
    torch.testing.assert_close(q, p.double(), rtol=0, atol=10 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(("mean", "variance"), PATHS)
@pytest.mark.parametrize("t", [0.0, 1e-9])
def test_posterior_at_the_end_is_the_nearest_code(mean, variance, t):
    p, x1, codes = make_problem()
    offset = torch.randn(x1.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x_t = codes[torch.arange(50) % 6] + 0.5 * offset
    q = posterior(ExactPath(mean, variance=variance, sigma=1e-3).path(), p, x_t, x1, codes, time(t))
    assert torch.equal(q.argmax(-1), nearest(x_t, codes))
    torch.testing.assert_close(q.amax(-1), torch.ones(50).double())


def test_ties_between_codes_are_broken_by_p():
    p, codes = torch.tensor([[0.2, 0.5, 0.3]]).double(), torch.as_tensor(label_codes("one_hot", 3, 4))
    between = 0.5 * (codes[:1] + codes[2:3])
    q = posterior(ExactPath().path(), p, between, torch.zeros(1, 4), codes, time(0.0))
    assert q.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("variance", VARIANCE_SCHEDULES)
@given(t=st.floats(0, 1), steepness=st.floats(0, 200), sigma=st.sampled_from([1e-200, 1e-12, 1e-3, 1.0, 1e100]))
def test_posterior_is_a_distribution_for_any_settings_and_keeps_zeros(variance, t, steepness, sigma):
    p, x1, codes = make_problem(3)
    p[0, 1:], p[1, 2] = 0, 0
    p = p / p.sum(-1, keepdim=True)
    for x_t in (x1, codes[:3], 30 * x1):
        q = posterior(ExactPath("logistic", steepness, variance, sigma).path(), p, x_t, x1, codes, time(t))
        torch.testing.assert_close(q.sum(-1), torch.ones(3).double())
        assert (q >= 0).all()
        assert (q[p == 0] == 0).all()


def test_float32_inputs_are_computed_in_float64():
    path, (p, x1, codes) = ExactPath().path(), make_problem()
    singles = [tensor.float() for tensor in (p, x1, codes)]
    states = walk(path, *singles, n_steps=4)
    assert states.dtype == torch.float64
    torch.testing.assert_close(states, walk(path, *(tensor.double() for tensor in singles), n_steps=4))


@pytest.mark.parametrize(("mean", "variance"), PATHS)
@pytest.mark.parametrize("n_steps", [1, 2, 4, 10, 100])
def test_exact_steps_end_nearest_to_the_most_probable_code(mean, variance, n_steps):
    path, (p, x1, codes) = ExactPath(mean, variance=variance).path(), make_problem(400, 10, 64)
    states = walk(path, p, x1, codes, n_steps=n_steps)
    assert states.shape == (n_steps + 1, 400, 64)
    assert torch.equal(states[0], x1)
    assert torch.equal(nearest(states[-1], codes), p.argmax(-1))
    if n_steps == 1:
        torch.testing.assert_close(states[-1], p @ codes)


@pytest.mark.parametrize("n_steps", [4, 10, 100])
def test_exact_steps_end_in_a_code(n_steps):
    p, x1, codes = make_problem(2000, 10, 64)
    end = walk(ExactPath().path(), p, x1, codes, n_steps=n_steps)[-1]
    assert (torch.cdist(end, codes).amin(-1) < 1e-3).double().mean() > 0.98


@pytest.mark.parametrize(
    ("solver", "n_steps", "least"), [("euler", (2, 10, 100, 1000), 0.97), ("midpoint", (2, 4, 10, 100), 0.99)]
)
def test_other_solvers_agree_as_steps_grow(solver, n_steps, least):
    path, (p, x1, codes) = ExactPath().path(), make_problem(1000, 10, 64)
    shares = [
        (nearest(walk(path, p, x1, codes, n_steps=n, solver=solver)[-1], codes) == p.argmax(-1)).double().mean().item()
        for n in n_steps
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.7
    assert shares[-1] >= least


@pytest.mark.parametrize("solver", SOLVERS)
def test_evaluations_of_a_step(solver, monkeypatch):
    times = []

    def counted(path, p, x_t, x1, codes, t):
        times.append(t.item())
        return posterior(path, p, x_t, x1, codes, t)

    monkeypatch.setattr(exact, "posterior", counted)
    walk(ExactPath().path(), *make_problem(), n_steps=5, solver=solver)
    assert len(times) == 5 * (2 if solver == "midpoint" else 1)
    assert times[0] == 1
    assert min(times) > 0


@pytest.mark.parametrize(("mean", "variance"), [("logistic", "bridge"), ("linear", "constant"), ("cosine", "zero")])
@pytest.mark.parametrize("n_steps", [1, 4, 20])
def test_classes_are_sampled_with_their_probabilities(mean, variance, n_steps, generator):
    path, (p, x1, codes) = ExactPath(mean, variance=variance).path(), make_problem(12, 4, 16)
    p[0] = torch.tensor([0.75, 0.25, 0, 0])
    classes = sample(path, p, x1, codes, n_draws=2000, n_steps=n_steps, generator=generator)
    assert classes.shape == (12, 2000)
    assert classes.dtype == torch.int64
    counts = torch.stack([(classes == c).sum(-1) for c in range(4)], dim=-1)
    assert (counts[p == 0] == 0).all()
    for observed, expected in zip(counts, 2000 * p, strict=True):
        possible = expected > 0
        assert chisquare(observed[possible], expected[possible]).pvalue > 1e-4


@pytest.mark.parametrize("n_steps", [4, 20])
def test_sampled_classes_have_the_mean_probability_of_calibrated_ones(n_steps, generator):
    """A class sampled from p has the mean probability Σ p²."""
    p, x1, codes = make_problem(2000, 10, 64)
    classes = sample(ExactPath().path(), p, x1, codes, n_draws=5, n_steps=n_steps, generator=generator)
    found, expected = p.gather(-1, classes).mean().item(), p.square().sum(-1).mean().item()
    assert found == pytest.approx(expected, abs=0.006)


def test_samples_come_from_the_generator_alone_and_blocks_make_no_difference_in_law(monkeypatch):
    path, (p, x1, codes) = ExactPath().path(), make_problem(3, 4, 16)
    before = torch.get_rng_state()

    def draws():
        generator = torch.Generator().manual_seed(7)
        return sample(path, p, x1, codes, n_draws=1000, n_steps=3, generator=generator)

    assert torch.equal(draws(), draws())
    monkeypatch.setattr(exact, "BLOCK_VALUES", 16 * 3 * 300)  # blocks of 300, 300, 300 and 100 draws
    classes = draws()
    assert classes.shape == (3, 1000)
    for row, expected in zip(classes, 1000 * p, strict=True):
        assert chisquare(row.bincount(minlength=4), expected).pvalue > 1e-4
    assert torch.equal(before, torch.get_rng_state())


def test_inputs_are_never_changed(generator):
    path, inputs = ExactPath().path(), make_problem()
    copies = [tensor.clone() for tensor in inputs]
    walk(path, *inputs, n_steps=3)
    sample(path, *inputs, n_draws=3, n_steps=3, generator=generator)
    assert all(map(torch.equal, inputs, copies))
