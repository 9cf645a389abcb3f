"""The bar over epochs."""

from gendiffclf.training.progress import Progress


def run(verbose: int) -> list[int]:
    progress = Progress(verbose)
    epochs = []
    for epoch in progress.epochs(3):
        epochs.append(epoch)
        progress.report(loss=0.125, validation=None if epoch == 0 else 0.5)
    return epochs


def test_silence(capsys):
    assert run(0) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_bar_shows_loss_and_score_and_stays(capsys):
    assert run(2) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.rstrip().split("\r")[-1]
    assert "3/3" in last
    assert "loss=0.1250" in last
    assert "validation=0.5000" in last
    assert "None" not in captured.err


def test_the_bar_goes_away_for_verbose_1(capsys):
    run(1)
    assert capsys.readouterr().err.endswith("\r")
