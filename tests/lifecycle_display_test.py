"""What a run shows: a live block on a terminal, plain lines in a pipe, nothing but errors with --quiet; and
what `check`, `ls` and `inspect` say."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import instep_test
from instep_test import TIMEOUT_S
from run_case import ENDLESS, RunCase


class Terminal(RunCase):
    def start_on_terminal(self, *arguments, rows=24, columns=80, term="xterm"):
        """A command whose terminal this is, as a shell starts it; what it shows gathers in self.shown."""
        self.screen, theirs = pty.openpty()
        self.addCleanup(os.close, self.screen)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process = subprocess.Popen(
            [str(instep_test.INSTEP), *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs,
            cwd=self.folder, start_new_session=True, env={**self.environment, "TERM": term},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        self.addCleanup(instep_test.kill_group, process)
        self.shown = ""
        return process

    def read_until(self, done):
        """Reads what is shown until done() or its end."""
        end = time.monotonic() + TIMEOUT_S
        while not done():
            self.assertLess(time.monotonic(), end, self.shown)
            if not select.select([self.screen], [], [], 0.1)[0]:
                continue
            try:
                piece = os.read(self.screen, 65536)
            except OSError:  # nobody has the terminal open any more
                return
            self.shown += piece.decode()

    def test_a_block_with_a_bar_and_ctrl_c_from_the_keyboard(self):
        run = self.new_path("run")
        process = self.start_on_terminal("run", self.job, "-n", 2, "--no-pin", "--run-dir", run, *ENDLESS)
        # Redrawn in its place: cursor up, the bar, a line for what each agent does.
        self.read_until(lambda: all(
            re.search(rf"agent {k}  training +2 shards  \[[#-]{{8}}\] +\d+% computing +[\d,]+ samples", self.shown)
            for k in range(2)))
        self.assertRegex(self.shown, r"\x1b\[\d+A\r")
        self.assertRegex(self.shown, r"small  epoch [\d.]+/1000000  \[-{24}\] 0%  round \d+/10000000")
        self.assertIn("loss", self.shown)
        self.assertIn("samples/s", self.shown)
        os.write(self.screen, b"\x03")  # the terminal sends SIGINT to its foreground group
        self.read_until(lambda: False)
        self.assertEqual(process.wait(TIMEOUT_S), 130)
        self.assertIn("press Ctrl-C again to end at once", self.shown)
        self.assertIn(f"instep resume {run.name}", self.shown)
        self.nothing_is_left()
        self.assertEqual(self.inspect(run)["round"], self.report(run)["rounds"])

    def frames(self):
        """What the block looked like each time it was drawn."""
        return [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", frame).split("\r\n")
                for frame in re.split(r"\x1b\[\d+A\r", self.shown)[1:]]

    def test_the_time_left_is_said_when_it_is_known(self):
        process = self.start_on_terminal("run", self.job, "-n", 2, "--no-pin", "--run-dir",
                                         self.new_path("run"), *ENDLESS)
        self.read_until(lambda: re.search(r"samples/s  ETA (about \d+ (min|h|days)|years)", self.shown))
        self.assertNotIn("ETA", "".join(self.frames()[0]))  # at first nobody knows
        os.write(self.screen, b"\x03\x03")
        self.read_until(lambda: False)
        process.wait(TIMEOUT_S)

    def test_a_small_terminal_that_changes_its_size(self):
        process = self.start_on_terminal("run", self.job, "-n", 4, "--no-pin", "--run-dir",
                                         self.new_path("run"), *ENDLESS, rows=5, columns=40)
        self.read_until(lambda: re.search(r"agents 1-3 training", self.shown))
        frames = self.frames()
        for frame in frames[:-1]:  # the last one may be half drawn
            self.assertLessEqual(len(frame), 5, frame)  # with the empty line that the cursor is in
            for line in frame:
                self.assertLess(len(line), 40)
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.read_until(lambda: re.search(r"agent 3  training.* samples\x1b", self.shown))
        # Ctrl-C twice ends it at once; no cursor was hidden that would have to be shown again.
        os.write(self.screen, b"\x03\x03")
        self.read_until(lambda: False)
        self.assertEqual(process.wait(TIMEOUT_S), 130)
        self.assertNotIn("\x1b[?25l", self.shown)
        self.assertTrue(self.shown.rstrip("\r\n ").splitlines()[-1])
        self.nothing_is_left()

    def test_a_terminal_that_cannot_move_its_cursor_gets_lines(self):
        process = self.start_on_terminal("run", self.job, "-n", 1, "--no-pin", "--run-dir",
                                         self.new_path("run"), term="dumb")
        self.read_until(lambda: False)
        self.assertEqual(process.wait(TIMEOUT_S), 0)
        self.assertNotIn("\x1b", self.shown)
        self.assertEqual(len(re.findall(r"^epoch [12]/2 ", self.shown, re.M)), 2)

    def test_two_from_the_keyboard_at_once(self):
        run = self.new_path("run")
        process = self.start_on_terminal("run", self.job, "-n", 2, "--no-pin", "--run-dir", run, *ENDLESS)
        self.read_until(lambda: self.checkpoints_told(run))
        os.write(self.screen, b"\x03\x03")
        self.read_until(lambda: False)
        self.assertEqual(process.wait(TIMEOUT_S), 130)
        self.nothing_is_left()


class Pipe(RunCase):
    def test_plain_lines_an_epoch_a_line(self):
        run = self.new_path("run")
        result = self.run_instep("run", self.job, "-n", 2, "--no-pin", "--run-dir", run)
        self.assertNotIn("\x1b", result.out + result.err)
        self.assertNotIn("\r", result.out + result.err)
        lines = [line for line in result.out.splitlines() if re.match(r"epoch +[12]/2 ", line)]
        self.assertEqual(len(lines), 2, result)
        for line in lines:
            self.assertIn("loss", line)
            self.assertIn("accuracy", line)
        self.assertIn(str(run), result.out)
        self.assertIn("20 rounds", result.out.replace(",", ""))

    def test_the_line_of_an_epoch_says_how_long_it_will_take(self):
        run = self.new_path("run")
        process = self.start("run", self.job, "-n", 2, "--no-pin", "--run-dir", run, "--set", "epochs=1000000",
                             "--set", "data.samples=6400", "--set", "checkpoint.every_epochs=0",
                             "--set", "checkpoint.every_rounds=0")
        log = run / "logs/launcher.log"
        line = r"epoch \d+/1000000 .* samples/s .*  ETA (about \d+|years)"
        self.wait_until("ETA", lambda: log.exists() and re.search(line, log.read_text()), process=process)
        process.terminate()
        result = self.finish(process)
        self.assertEqual(result.code, 0, result)
        self.assertRegex(result.out, line)
        first = next(text for text in result.out.splitlines() if text.startswith("epoch 1/"))
        self.assertNotIn("ETA", first)  # nobody knows yet

    def test_quiet_says_nothing(self):
        result = self.run_instep("run", self.job, "-n", 3, "--quiet", "--no-pin", "--run-dir",
                                 self.new_path("run"))
        self.assertEqual((result.out, result.err), ("", ""))

    def test_too_many_agents_are_said(self):
        run = self.new_path("run")
        result = self.run_instep("run", self.job, "-n", 6, "--no-pin", "--run-dir", run)
        self.assertIn("agents 4-5 have no shard and stand by (shards = 4)", result.err)
        if len(os.sched_getaffinity(0)) < 6:
            self.assertRegex(result.crowded, r"6 agents with 1 thread each share \d+ processors?")
        self.assertEqual(self.report(run)["agents"], 6)

    def test_small_shards_are_said(self):
        for command in ("check", "run"):
            more = ("-n", 1, "--run-dir", self.new_path("run")) if command == "run" else ("-n", 1)
            result = self.run_instep(command, self.job, *more, "--set", "batch=8", "--set", "epochs=1")
            self.assertIn("can cost more than 10%", result.err, result)
        self.assertNotIn("10%", self.run_instep("check", self.job, "-n", 1).err)

    def test_a_reader_that_goes_does_not_harm_the_run(self):
        run = self.new_path("run")
        process = self.start("run", self.job, "-n", 2, "--no-pin", "--run-dir", run)
        process.stdout.close()
        process.stderr.close()
        self.assertEqual(process.wait(TIMEOUT_S), 0)
        self.assertEqual(self.report(run)["rounds"], 20)


class Words(RunCase):
    def test_check_shows_what_would_run_and_runs_nothing(self):
        before = self.tree()
        text = self.run_instep("check", self.job, "-n", 3, "--set", "seed=7", INSTEP_SET="epochs=5").out
        self.assertEqual(self.tree(), before)
        for words in (r"seed +7 +\(--set\)", r"epochs +5 +\(INSTEP_SET\)", r"batch +64 +\(\S*job.toml:4\)",
                      r"threads +1 +\(default\)", r"rounds +10 an epoch, 50 in all",
                      r"640 training, 0 validation and 100 test samples of 20 values, 2 classes",
                      r"mlp, 370 parameters", r"agents +3", r"shards +4 of 16 samples"):
            self.assertRegex(text, words)
        run = self.new_path("run")
        report = self.train(self.job, 1, {"epochs": 1, "checkpoint.keep_last": 1}, run_dir=run)
        hash_of = re.compile(r"hash ([0-9a-f]{64})")
        text = self.run_instep("check", self.job, "-n", 1).out
        self.assertEqual(hash_of.search(text).group(1), report["job_hash"])

    def test_runs_are_listed_newest_first_with_their_state(self):
        self.assertEqual(len(self.run_instep("ls").out.splitlines()), 1)
        first, second = self.new_path("first"), self.new_path("second")
        self.train(self.job, 1, {"epochs": 1}, run_dir=first)
        process = self.start_endless(second)
        lines = self.run_instep("ls").out.splitlines()
        self.assertEqual([line.split()[:3] for line in lines[1:]],
                         [[second.name, "running", "2"], [first.name, "finished", "1"]])
        self.run_instep("stop", second.name, "--quiet")
        self.assertEqual(self.finish(process).code, 0)
        self.assertEqual(self.state(second), "stopped")
        self.assertEqual(self.inspect(second.name)["checkpoint"], self.report(second)["checkpoint"])

    def test_names_by_default(self):
        for k in range(2):
            self.run_instep("run", self.job, "-n", 1, "--quiet", "--set", "epochs=1")
        runs = sorted((self.folder / "runs").iterdir())
        self.assertEqual(len(runs), 2)
        for run in runs:
            self.assertRegex(run.name, r"^small-\d{8}-\d{6}(-2)?$")
            self.assertEqual(self.report(run)["run_dir"], str(run))

    def test_the_report_goes_where_it_is_asked_to(self):
        path = self.new_path("report.json")
        run = self.new_path("run")
        self.run_instep("run", self.job, "-n", 1, "--quiet", "--run-dir", run, "--report", path)
        self.assertEqual(json.loads(path.read_text()), self.report(run))
        out = self.run_instep("eval", run, "-n", 1, "--quiet", "--report", "/dev/stdout").out
        self.assertEqual(json.loads(out)["test"], self.report(run)["test"])


if __name__ == "__main__":
    instep_test.main()
