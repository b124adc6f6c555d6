"""TorchScript that cannot be trained: one error with the file, exit code 2, and nothing is left."""

# ctest: SKIP_RETURN_CODE 77
import hashlib
import pathlib

import instep_test
from instep_test import settings
from run_case import JOB, RunCase
from torch_case import TorchCase, torch

RUN = ("-n", 2, "--quiet", "--no-pin", "--run-dir")


class Layer(torch.nn.Module):
    """A linear layer; those below do something else with its outputs."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(20, 2)


class Summed(Layer):
    def forward(self, x):
        return self.layer(x).sum(0)


class Wide(Layer):
    def forward(self, x):
        return self.layer(x).flatten().unsqueeze(0).expand(x.shape[0], -1)


class Two(Layer):
    def forward(self, x, y):
        return self.layer(x) + y


class Pair(Layer):
    def forward(self, x):
        return self.layer(x), x


class Growing(Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        if self.training:
            self.seen = torch.cat([self.seen, self.seen])
        return self.layer(x)


class Scripts(RunCase, TorchCase):
    def use(self, path, **more):
        job = self.new_path("script.toml")
        job.write_text(JOB.replace('"mlp"\nlayers = [20, 16, 2]', f'"torchscript"\nfile = "{path}"'))
        return ("run", job, *RUN, self.new_path("run"), *settings(more))

    def test_what_cannot_be_trained(self):
        frozen = torch.nn.Linear(20, 2).requires_grad_(False)
        for module, *parts in (
                (torch.nn.Flatten(), "has no parameters to train"),
                (frozen, "has no parameters to train"),
                (torch.nn.Linear(20, 2).double(), "its parameter weight is CPUDoubleType", "float32"),
                (Two(), "takes (Tensor, Tensor)", "one Tensor"),
                (Pair(), "returns (Tensor, Tensor)", "one Tensor"),
                (Summed(), "for a batch of 3 samples", "returns [2]"),
                (Wide(), "[2, 4] for a batch of 2 and [3, 6] for one of 3"),
                (torch.nn.Linear(20, 1), "[2, 1] for a batch of 2", "[2, 2] or more classes"),
                (torch.nn.Linear(21, 2), "does not take a batch", "[20] each"),
                (torch.nn.Conv2d(3, 2, 3), "does not take a batch", "[20] each"),
                (Growing(), "its buffer seen changes")):
            with self.subTest(module):
                path = self.script(module)
                self.refused(*self.use(path), parts=(path.name, *parts))

    def test_files_that_are_no_torchscript(self):
        missing = self.new_path("missing.pt")
        self.refused(*self.use(missing), parts=("model.file", "missing.pt", "is not there"))
        text = self.new_path("text.pt")
        text.write_text("hello\n")
        state = self.new_path("state.pt")
        torch.save(torch.nn.Linear(20, 2).state_dict(), state)
        whole = self.script(torch.nn.Linear(20, 2)).read_bytes()
        short = self.new_path("short.pt")
        short.write_bytes(whole[:len(whole) // 2])
        for path in (text, state, short, self.folder):
            with self.subTest(path.name):
                what = "is not there" if path.is_dir() else "does not load as TorchScript"
                self.refused(*self.use(path), parts=(path.name, what))

    def test_another_file_than_the_job_names(self):
        path = self.script(torch.nn.Linear(20, 2))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        other = {"model.file_sha256": "0" * 64}
        self.refused(*self.use(path, **other), parts=("model.pt", digest, "model.file_sha256"))
        run_dir = self.new_path("kept")
        result = self.run_instep(*self.use(path)[:-1], run_dir, "--set", f'model.file_sha256="{digest}"')
        self.assertEqual(result.err, "", "--quiet")
        # Gone or changed, it cannot be gone on with.
        kept = path.read_bytes()
        path.write_bytes(self.script(torch.nn.Linear(20, 2)).read_bytes())
        result = self.run_instep("resume", run_dir, "--set", "epochs=3", code=2)
        self.assertIn(digest, result.err)
        self.assertIn("another file than the run began with", result.err)
        path.unlink()
        result = self.run_instep("resume", run_dir, "--set", "epochs=3", code=2)
        self.assertIn("model.pt", result.err)
        path.write_bytes(kept)
        self.run_instep("resume", run_dir, "--set", "epochs=3")

    def test_that_it_carries_code_is_said_once(self):
        path = self.script(torch.nn.Linear(20, 2))
        words = [word for word in self.use(path) if word != "--quiet"]
        result = self.run_instep(*words)
        lines = [line for line in result.err.splitlines() if "TorchScript carries code" in line]
        self.assertEqual(len(lines), 1, result)
        self.assertIn(str(path), lines[0])
        log = (pathlib.Path(words[words.index("--run-dir") + 1]) / "logs/launcher.log").read_text()
        self.assertIn("TorchScript carries code", log)


if __name__ == "__main__":
    instep_test.main()
