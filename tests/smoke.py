"""What an installed wheel must do without extras and outside the repository; `make package` runs it, pytest does not."""

import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

from sklearn.datasets import load_wine

import gendiffclf

home = Path(gendiffclf.__file__).parent
assert "site-packages" in home.parts, f"the installed package is meant, not {home}"
assert (home / "py.typed").exists()
assert importlib.metadata.version("gendiffclf") == gendiffclf.__version__
X, y = load_wine(return_X_y=True)
classifier = gendiffclf.GenerativeTransportClassifier(random_state=0).fit(X[::2], y[::2])
accuracy = classifier.score(X[1::2], y[1::2])
assert accuracy > 0.9, accuracy
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "wine.safetensors")
    classifier.save(path)
    loaded = gendiffclf.GenerativeTransportClassifier.load(path)
    assert (loaded.predict(X) == classifier.predict(X)).all()
command = Path(sys.executable).with_name("gendiffclf")
version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
assert version.strip() == f"gendiffclf {gendiffclf.__version__}"
missing = subprocess.run([command, "demo"], capture_output=True, text=True)
assert missing.returncode == 1, missing
assert ".[demo]" in missing.stderr, missing.stderr
sys.stdout.write(
    f"gendiffclf {gendiffclf.__version__} works as installed: {accuracy:.2f} of the test rows are right.\n"
)
