"""Files that a job names beside its data, which the first host alone has: the others get them, and the bits are the
same as on it alone."""
# ctest: SKIP_RETURN_CODE 77 TIMEOUT 1200

import os
import shlex
import shutil
import subprocess

import instep_test
from hosts_case import HostsCase
from instep_test import settings
from launcher_variables import torchrun, without_launchers
from torch_case import TorchCase, torch

SETS = {"shards": 8, "epochs": 2, "model.kind": "torchscript", "model.layers": [], "optimizer.kind": "adam"}
# So long that others come in before it ends, on slow links until hurry().
LONG = {"epochs": 30, "shards": 8, "model.layers": [20, 2000, 2], "checkpoint.every_rounds": 200}


class Net(torch.nn.Module):
    """Some of it is trained, some is carried with the shards, and some stays as the file with the weights has it."""

    def __init__(self):
        super().__init__()
        self.frozen = torch.nn.Linear(20, 1000).requires_grad_(False)
        self.norm = torch.nn.BatchNorm1d(1000)
        self.drop = torch.nn.Dropout(0.2)
        self.out = torch.nn.Linear(1000, 2)

    def forward(self, x):
        return self.out(self.drop(torch.relu(self.norm(self.frozen(x)))))


class HostsFiles(TorchCase, HostsCase):
    def setUp(self):
        super().setUp()
        self.here = self.new_path("here")
        self.here.mkdir()

    def start_on(self, number, *words, **environment):
        """On other hosts than the first the folder with the files is an empty one."""
        if number > 0:
            hidden = f'mount -t tmpfs none {shlex.quote(str(self.here))} && exec "$@"'
            words = ("unshare", "--mount", "sh", "-c", hidden, "sh", *words)
        return super().start_on(number, *words, **environment)

    def module(self):
        torch.manual_seed(1)
        return shutil.move(self.script(Net()), self.here / "net.pt")

    def weights(self, sets):
        """Of a job that was trained before."""
        before = self.train(self.job, 1, {**sets, "epochs": 1, "seed": 5})
        return shutil.copy(f"{before['checkpoint']}/model.safetensors", self.here / "weights.safetensors")

    def files_of(self, host):
        return sorted(path.name.split("-")[0] for path in (host.run_dir / "files").iterdir())

    def spoil(self):
        """Nothing that this test's files were is there any more."""
        for path in self.here.iterdir():
            path.write_bytes(b"changed")

    def test_a_module_and_weights(self):
        sets = {**SETS, "model.file": str(self.module())}
        sets["model.init"] = str(self.weights(sets))
        drawn = self.train(self.job, 1, {**sets, "model.init": ""})
        reports = self.same_as_alone(self.job, sets)
        self.assertNotEqual(reports[0]["state_sha256"], drawn["state_sha256"])
        for host in self.hosts:
            self.assertEqual(self.files_of(host), ["model.file", "model.init"])
            job = (host.run_dir / "job.json").read_bytes()
            self.assertEqual(job, (self.hosts[0].run_dir / "job.json").read_bytes())

    def test_each_hosts_directory_goes_on_by_itself(self):
        sets = {**SETS, "model.file": str(self.module())}
        sets["model.init"] = str(self.weights(sets))
        straight = self.train(self.job, 1, {**sets, "epochs": 4})
        hosts = self.start_all(self.job, (1, 1), sets=sets)
        half = self.reports(hosts)
        self.spoil()
        for host in hosts:
            self.assertEqual(self.evaluate(host.run_dir, 1)["test"], half[0]["test"])
            self.run_instep("export", host.run_dir, "-o", self.new_path("exported"), "--quiet")
            report = self.resume(host.run_dir, 2, {"epochs": 4})
            self.assertEqual(report["state_sha256"], straight["state_sha256"])
        # One that is no longer what it was is no ground to go on.
        (kept,) = (hosts[1].run_dir / "files").glob("model.init-*")
        kept.write_bytes(kept.read_bytes()[:-1] + b"x")
        result = self.run_instep("resume", hosts[1].run_dir, "--set", "epochs=5", code=2)
        self.assertIn("is no longer the file that the run began with", result.err)

    def test_hosts_that_come_late_get_what_the_run_began_with(self):
        sets = {**LONG, **SETS, "epochs": 60, "model.file": str(self.module())}
        sets["model.init"] = str(self.weights(sets))
        hosts = self.with_room((1, 1), 4, sets=sets)
        self.spoil()
        hosts.append(self.start_agents(2, self.line))
        self.is_in(hosts[2])
        self.kill(hosts[1])
        hosts[1] = self.start_agents(1, self.line)
        self.is_in(hosts[1])
        self.end_as_alone(hosts, sets)

    def breaks_while_it_comes(self, sets, mbit, comes):
        """The link of a host that comes late, when comes(host) says that some of what it needs is here."""
        hosts = self.with_room((1, 1), mbit, sets=sets)
        hosts.append(self.start_agents(2, self.line))
        self.wait_for(hosts[2], "some of it", lambda: comes(hosts[2]))
        broken = subprocess.run([*self.network.on(2), "ss", "--kill", "--tcp", "state", "established"],
                                capture_output=True, text=True)
        if "not supported" in broken.stderr:
            self.skipTest("this kernel does not break connections for others")
        self.assertTrue(comes(hosts[2]))
        self.is_in(hosts[2])
        self.end_as_alone(hosts, sets)
        self.assertIn("came back", [it["what"] for it in self.audit(hosts[0])])

    def test_a_link_breaks_while_a_file_comes(self):
        sets = {**LONG, "model.layers": [20, 60000, 2], "epochs": 3, "checkpoint.every_rounds": 0}
        sets["model.init"] = str(self.weights(sets))  # 5.5 MB

        def comes(host):
            part = host.run_dir / "files/model.init.tmp"
            return part.exists() and part.stat().st_size > 1_000_000
        self.breaks_while_it_comes(sets, 40, comes)

    def test_a_link_breaks_while_data_come(self):
        # Nobody sent the rest, and the host never came in.
        sets = {**LONG, "epochs": 4, "data.samples": 40000, "batch": 500}  # 3 MB
        self.breaks_while_it_comes(sets, 25, lambda host: self.network.counted(2)[0] > 1_000_000)

    def test_a_file_that_the_first_host_has_no_more(self):
        sets = {**LONG, "model.init": str(self.weights(LONG))}
        hosts = self.with_room((1, 1), 15, sets=sets)
        (kept,) = (hosts[0].run_dir / "files").iterdir()
        whole = kept.read_bytes()
        for spoilt, words in ((whole[:-1] + bytes([whole[-1] ^ 1]), "it was changed there since the run began"),
                              (whole[:-1], "was cut short")):
            kept.write_bytes(spoilt)
            refused = self.start_agents(2, self.line)
            self.assertIn(words, self.end_of(refused, code=2).err)
        kept.write_bytes(whole)
        hosts.append(self.start_agents(2, self.line))
        self.is_in(hosts[2])
        self.end_as_alone(hosts, sets)

    def test_a_full_disk(self):
        weights = self.weights(LONG)
        coordinator = self.start_coordinator(self.job, least=1, most=2, sets={**LONG, "model.init": str(weights)})
        host = self.start_agents(1, self.join_line(coordinator), INSTEP_FAILPOINTS="file.write=enospc@2")
        self.assertIn("No space left on device; make room and try again", self.end_of(host, code=2).err)
        self.reports([coordinator])

    def test_what_the_first_host_cannot_send(self):
        large = self.here / "large"
        large.touch()
        os.truncate(large, 20 << 30)
        (self.here / "empty").touch()
        for name, *parts in (("none", "is not there"), ("", "is not there"), ("empty", "is empty"),
                             ("large", "has 20 GiB", "at most 16 GiB", "instep run")):
            with self.subTest(name):
                host = self.start_coordinator(self.job, least=2, sets={"model.init": str(self.here / name)})
                self.not_let_in(host, "model.init: ", name, *parts)

    def test_launchers_where_each_host_has_a_job_file(self):
        module = self.module()
        job = self.job_file(self.job.read_text().replace('kind = "mlp"\nlayers = [20, 16, 2]',
                                                         f'kind = "torchscript"\nfile = "{module}"'))
        environment = {**without_launchers(self.environment), "INSTEP_SECRET": "a secret that 2 hosts have"}
        hosts = [self.start_on(k, instep_test.INSTEP, "agent", "--from-env", job, "--no-pin", "--run-dir", "run",
                               *settings({"epochs": 2}),
                               **environment, **torchrun(k, 2, 29500, (0, 1), self.network.address(0)))
                 for k in (0, 1)]
        hosts[1].run_dir = hosts[1].run_dir.with_name("run-rank1")
        reports = self.reports(hosts)
        for report in reports:
            self.assert_same_bits(self.train(job, 1), report)
        self.assertEqual(self.files_of(hosts[1]), ["model.file"])

    def test_a_launchers_job_that_names_another_file(self):
        module = self.module()
        environment = {**without_launchers(self.environment), "INSTEP_SECRET": "a secret that 2 hosts have"}
        sets = {"model.kind": "torchscript", "model.layers": [], "model.file": str(module)}
        first, other = (self.start_on(k, instep_test.INSTEP, "agent", "--from-env", self.job, "--no-pin", "--run-dir",
                                      "run", *settings({**sets, **more}), **environment,
                                      **torchrun(k, 2, 29500, (0, 1), self.network.address(0)))
                        for k, more in ((0, {}), (1, {"model.file_sha256": "0" * 64})))
        self.not_let_in(other, "this host's job is not that of the first host")
        first.process.terminate()
        first.process.wait(instep_test.TIMEOUT_S)

    def test_that_a_module_carries_code_is_said_everywhere(self):
        hosts = self.start_all(self.job, (1, 1), sets={**SETS, "model.file": str(self.module())})
        self.reports(hosts)
        for host in hosts:
            log = (host.run_dir / "logs/launcher.log").read_text()
            self.assertIn("net.pt of the first host runs in every agent of every host", log)


if __name__ == "__main__":
    instep_test.main()
