"""`instep agent --from-env` on two hosts, where torchrun, mpirun or srun started its processes on both."""
# ctest: SKIP_RETURN_CODE 77

import importlib.util
import os
import re
import shutil
import signal
import sys

import instep_test
from hosts_case import HostsCase
from instep_test import settings
from launcher_variables import srun_on_nodes, torchrun, without_launchers
from run_case import AGENT

SECRET = "a secret that 2 hosts have"
PORT = 29500  # of torchrun's own store
TASKS = (2, 1)  # on each host

# In the place of the agent's program: one that must not hear the secret.
AGENT_WITHOUT_SECRET = f"""\
#!/bin/sh
if [ -n "$INSTEP_SECRET" ]; then echo "the secret is here" >&2; exit 3; fi
exec '{AGENT}' "$@"
"""

# What mpirun takes for ssh: HOST WORDS…, here for host 1 alone. Hosts of one name are one host to it.
RSH = """\
#!/bin/sh
shift
exec nsenter --net=/run/netns/{name} -- unshare --uts sh -c "hostname host1; $*"
"""

# Holds a port until it is killed.
HOLD = """\
import signal, socket, sys
it = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("held", flush=True)
signal.pause()
"""


class Launchers(HostsCase):
    hosts_wanted = 2

    def setUp(self):
        super().setUp()
        self.environment = {**without_launchers(self.environment), "INSTEP_SECRET": SECRET}
        self.use_failing_program(AGENT_WITHOUT_SECRET)

    def agent(self, *more, run_dir="run"):
        return (instep_test.INSTEP, "agent", "--from-env", self.job, "--no-pin", "--run-dir", run_dir, *more)

    def start_rank(self, node, local_rank=0, *more, tasks=TASKS, address=None, **environment):
        """A process as torchrun starts it."""
        variables = torchrun(sum(tasks[:node]) + local_rank, sum(tasks), PORT, (local_rank, tasks[node]),
                             address or self.network.address(0))
        host = self.start_on(node, *self.agent(*more), **{**variables, **environment})
        if node > 0:
            host.run_dir = host.run_dir.with_name(f"run-rank{sum(tasks[:node])}")
        return host

    def says(self, host, words):
        self.wait_for(host, f"'{words}'", lambda: words in host.printed())

    def trained_as_alone(self, run, other_run):
        alone = self.train(self.job, 1)
        for folder in (run, other_run):
            self.assert_same_bits(alone, self.report(folder))
        audit = self.records(run, "audit.jsonl")
        self.assertEqual([it["what"] for it in audit], ["listening", "enrolled", "joined", "done"])
        self.assertGreater(self.network.counted(1)[1], 10_000)
        self.nothing_is_left()
        self.nowhere(SECRET)

    def nowhere(self, secret):
        """No file of this test holds it."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                self.assertNotIn(secret.encode(), path.read_bytes(), path)

    def test_torchrun(self):
        if importlib.util.find_spec("torch") is None:
            self.skipTest("this Python has no torchrun")
        hosts = [self.start_on(k, sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={k}",
                               f"--nproc-per-node={n}", f"--master-addr={self.network.address(0)}",
                               f"--master-port={PORT}", "--no-python", *self.agent()) for k, n in enumerate(TASKS)]
        for host in hosts:
            self.end_of(host)
        self.assertIn(f"listening on {self.network.address(0)}:{PORT + 1} (MASTER_ADDR and MASTER_PORT + 1)\n"
                      "waiting for agents: 2 of 3 are here\n", hosts[0].printed())
        self.trained_as_alone(hosts[0].run_dir, hosts[1].run_dir.with_name("run-rank2"))

    def test_mpirun(self):
        if not shutil.which("mpirun"):
            self.skipTest("there is no mpirun")
        rsh = self.new_path("rsh")
        rsh.write_text(RSH.format(name=self.network.name(1)))
        rsh.chmod(0o755)
        places = ",".join(f"{self.network.address(k)}:{n}" for k, n in enumerate(TASKS))
        host = self.start_on(0, "unshare", "--uts", "sh", "-c", 'hostname host0; exec "$@"', "sh",
                             "mpirun", "--oversubscribe", "--host", places, "-np", sum(TASKS), "--mca", "plm_rsh_agent",
                             rsh, "-x", "INSTEP_SECRET", *self.agent("--address", f"{self.network.address(0)}:4601"),
                             OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        result = self.end_of(host)
        self.assertIn(f"ranks 2 to 2 wait for the first host at {self.network.address(0)}:4601 (--address)\n",
                      result.out)
        self.trained_as_alone(host.run_dir, host.run_dir.with_name("run-rank2"))

    def test_slurms_variables(self):
        # The second host comes first, and waits.
        nodes = self.network.address(0).removesuffix("1") + "[1-2]"

        def start(node, local_rank):
            return self.start_on(node, *self.agent(), **srun_on_nodes(node, local_rank, TASKS, nodes, 17))
        other = start(1, 0)
        self.says(other, f"wait for the first host at {self.network.address(0)}:4617 "
                         "(SLURM_STEP_NODELIST and SLURM_JOB_ID)")
        first, second = start(0, 0), start(0, 1)
        for host in (first, second, other):
            self.end_of(host)
        self.assertEqual(second.printed(), "")
        self.trained_as_alone(first.run_dir, other.run_dir.with_name("run-rank2"))

    def test_who_has_not_the_secret_is_not_in_and_changes_nothing(self):
        first = self.start_rank(0, tasks=(1, 1))
        self.says(first, "waiting for agents: 1 of 2 are here")
        self.not_let_in(self.start_rank(1, tasks=(1, 1), INSTEP_SECRET=SECRET + "!"),
                     "does not prove to be this run's coordinator", "INSTEP_SECRET", "MASTER_ADDR")
        # Whoever has reached the port knows the fingerprint.
        public = (first.run_dir / "hub.json").read_text()
        (fingerprint,) = re.findall("[0-9a-f]{64}", public)
        line = f"instep://{self.network.address(0)}:{PORT + 1}/{'a' * 6}.{'a' * 24}@sha256:{fingerprint}"
        self.not_let_in(self.start_agents(1, line), "this run knows no such join token")
        second = self.start_rank(1, tasks=(1, 1))
        reports = self.reports([first, second])
        self.assert_same_bits(self.train(self.job, 1), reports[0])
        self.assertEqual([it["what"] for it in self.audit(first)],
                         ["listening", "refused", "enrolled", "joined", "done"])

    def test_who_poses_as_the_first_host_gets_no_token(self):
        # A run with another secret listens where the first host should.
        stranger = self.start_rank(0, tasks=(1, 1), INSTEP_SECRET="another secret altogether")
        self.says(stranger, "waiting for agents: 1 of 2 are here")
        self.not_let_in(self.start_rank(1, tasks=(1, 1)), "does not prove to be this run's coordinator")
        self.assertEqual([it["what"] for it in self.audit(stranger)], ["listening"])

    def test_a_host_of_an_earlier_run_is_a_stranger(self):
        # The launcher starts the job again at the same place, with the same secret, while a host of it still lives.
        first, left = self.endless()
        left.process.send_signal(signal.SIGSTOP)
        self.kill(first)
        again = self.start_rank(0, tasks=(1, 1))
        self.says(again, "waiting for agents: 1 of 2 are here")
        left.process.send_signal(signal.SIGCONT)
        self.assertIn("it belongs to another run", self.end_of(left, 1).err)
        self.reports([again, self.start_rank(1, tasks=(1, 1))])
        self.assertEqual([it["what"] for it in self.audit(again)],
                         ["listening", "enrolled", "joined", "done"])

    def test_another_job_is_refused(self):
        first = self.start_rank(0, tasks=(1, 1))
        other = self.start_rank(1, 0, "--set", "seed=77", tasks=(1, 1))
        hashes = {self.job_hash(), self.job_hash("--set", "seed=77")}
        self.not_let_in(other, "this host's job is not that of the first host", *hashes)
        self.says(first, "waits for agents: 1 of at least 2")
        again = self.start_rank(1, tasks=(1, 1))
        self.reports([first, again])

    def test_more_agents_than_shards_are_refused_on_each_host(self):
        # A host beside the first does not wait for it, which ends by the same.
        for node in (1, 0):
            self.not_let_in(self.start_rank(node, 0, "--set", "shards=1", tasks=(1, 1)),
                            "2 agents in all: the job has 1 shards")

    def job_hash(self, *more):
        run = self.new_path("run")
        self.run_instep("run", self.job, "-n", 1, "--quiet", "--no-pin", "--run-dir", run, "--set", "epochs=1", *more)
        return self.report(run)["job_hash"]

    def test_a_schedulers_signal_is_a_stop_of_all_hosts(self):
        # To every process of the job. Those beside the first leave the matter to it.
        hosts = self.endless()
        for host in reversed(hosts):
            host.process.send_signal(signal.SIGUSR1)
        reports = self.reports(hosts)
        self.assert_same_bits(*reports)
        self.assertEqual([self.inspect(host.run_dir)["round"] for host in hosts], [reports[0]["rounds"]] * 2)

    def test_one_host_that_is_told_to_stop_stops_all(self):
        # torchrun tells its own process alone. The others went on, and so did this one until torchrun killed it.
        hosts = self.endless()
        hosts[1].process.send_signal(signal.SIGTERM)
        self.assert_same_bits(*self.reports(hosts))
        self.assertIn(f"stopped (host {os.uname().nodename} was asked to stop)", hosts[0].printed())

    def endless(self):
        hosts = [self.start_rank(k, 0, *settings({"epochs": 1000000, "evaluate_each_epoch": False}), tasks=(1, 1))
                 for k in (0, 1)]
        self.wait_for_round(hosts[0], 8)
        return hosts

    def test_a_lost_host_ends_the_run_which_can_be_resumed(self):
        hosts = self.endless()
        self.kill(hosts[1])
        self.assertIn("instep resume", self.end_of(hosts[0], 1).err)
        self.goes_on_as_if_never_stopped(hosts[0].run_dir, 1)

    def test_insecure_is_said_everywhere(self):
        del self.environment["INSTEP_SECRET"]
        hosts = [self.start_rank(k, 0, "--insecure", tasks=(1, 1)) for k in (0, 1)]
        self.reports(hosts)
        words = f"--insecure: anyone who reaches {self.network.address(0)}:{PORT + 1} can join this run"
        self.assertIn(words, hosts[0].result().err)
        self.assertIn(words, self.audit(hosts[0])[0]["reason"])
        for host in hosts:
            self.assertIn(words, (host.run_dir / "logs/launcher.log").read_text())

    def test_a_port_that_another_program_has(self):
        holder = self.start_on(0, sys.executable, "-c", HOLD, self.network.address(0), PORT + 1)
        self.says(holder, "held")
        first = self.start_rank(0, tasks=(1, 1))
        result = self.end_of(first, 2)
        self.assertIn(f"cannot listen on {self.network.address(0)}:{PORT + 1}: another program has that port",
                      result.err)
        self.assertIn("(MASTER_ADDR and MASTER_PORT + 1); --address HOST:PORT, the same on all of them", result.err)
        self.assertFalse(first.run_dir.exists())


if __name__ == "__main__":
    instep_test.main()
