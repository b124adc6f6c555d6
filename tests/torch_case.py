"""For tests that need PyTorch in Python: from this Python's packages, or from the wheel that instep is built
with (INSTEP_LIBTORCH names its torch folder). Where neither can be imported the script ends as skipped (exit code
77), and says why: the CUDA wheel, say, cannot be without NVIDIA's libraries, which instep does not need."""

import os
import pathlib
import sys
import warnings

import numpy as np

import instep_test

os.environ["MKL_CBWR"] = "AUTO"  # as instep's agents have it, before libtorch loads
folder = pathlib.Path(os.environ.get("INSTEP_LIBTORCH") or "/none").parent
try:
    try:
        import torch
    except ModuleNotFoundError:
        if not (folder / "torch/__init__.py").exists():
            raise
        sys.path.append(str(folder))
        import torch
except (ImportError, OSError) as error:
    print(f"skipped: torch cannot be imported: {error}")
    raise SystemExit(77) from None

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


class TorchCase(instep_test.Case):
    def setUp(self):
        super().setUp()
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit, as docs/models.md says

    def script(self, module, name="model.pt"):
        """The module as a file of TorchScript."""
        path = self.new_path(name)
        torch.jit.save(torch.jit.script(module), str(path))
        return path

    def csv(self, x):
        """Samples for `instep predict`, exact to the bit."""
        path = self.new_path("samples.csv")
        columns = ",".join(f"x{i}" for i in range(x.shape[1]))
        np.savetxt(path, x, "%.9g", ",", header=columns, comments="")
        return path

    def npy(self, x):
        path = self.new_path("samples.npy")
        np.save(path, x)
        return path

    def predict(self, checkpoint, samples):
        out = self.run_instep("predict", checkpoint, samples).out
        return np.array([[float(word) for word in line.split()] for line in out.splitlines()])

    def normal(self, *shape):
        return np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
