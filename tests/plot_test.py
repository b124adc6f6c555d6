"""`instep plot`: pictures of real runs, and what cannot be drawn."""

import json
import re
import xml.etree.ElementTree as ElementTree

import instep_test
from run_case import RunCase

SVG = "{http://www.w3.org/2000/svg}"
# Many short epochs; the loss of each is a point.
EPOCHS = 6


class Picture:
    """What a file shows: panels by title, curves by name as points, flags and keys as text."""

    def __init__(self, path):
        self.root = ElementTree.parse(path).getroot()
        assert self.root.tag == SVG + "svg"
        self.width, self.height = (float(self.root.get(key)) for key in ("width", "height"))
        self.texts = [text.text for text in self.root.iter(SVG + "text")]
        self.curves = [(group.find(SVG + "title").text,
                        [tuple(map(float, point.split(","))) for point in line.get("points").split()])
                       for group in self.root.iter(SVG + "g") for line in group.iter(SVG + "polyline")]
        self.flags = [group.find(SVG + "title").text for group in self.root.iter(SVG + "g")
                      if group.find(SVG + "path") is not None]
        self.looks = [line.get("class") for line in self.root.iter(SVG + "polyline")]

    def curve(self, name):
        return [points for found, points in self.curves if found == name]


class Plot(RunCase):
    def plot(self, *arguments, code=0):
        return self.run_instep("plot", *arguments, code=code)

    def picture(self, *arguments):
        path = self.new_path("picture.svg")
        result = self.plot(*arguments, "-o", path)
        self.assertEqual((result.out, result.err), (f"wrote {path}\n", ""))
        picture = Picture(path)
        for _, points in picture.curves:
            for x, y in points:
                self.assertTrue(0 <= x <= picture.width and 0 <= y <= picture.height, (x, y))
            self.assertEqual(points, sorted(points, key=lambda point: point[0]))
        return picture

    def test_one_run(self):
        run = self.new_path("run")
        self.train(self.job, 2, {"epochs": EPOCHS, "split.validation": 0.25}, run_dir=run)
        picture = self.picture(run)
        self.assertEqual(picture.texts[0], run.name)
        self.assertTrue({"loss", "accuracy", "throughput, samples/s", "rounds", "training", "test",
                         "validation"} <= set(picture.texts), picture.texts)
        # Loss and accuracy of both sets; what was trained and how fast.
        for name in ("validation", "test"):
            self.assertEqual([len(points) for points in picture.curve(name)], [EPOCHS, EPOCHS])
        self.assertEqual(len(picture.curve("training")), 2)
        self.assertEqual(len(set(picture.looks)), 3)
        self.assertEqual(picture.flags, [])
        # Where the points lie follows from the records: the last round is at the right edge.
        epochs = self.epochs(run)
        test = picture.curve("test")[0]
        first, last = epochs[0]["round"], epochs[-1]["round"]
        left, right = test[0][0], test[-1][0]
        for epoch, (x, _) in zip(epochs, test):
            self.assertAlmostEqual(x, left + (right - left) * (epoch["round"] - first) / (last - first), 1)
        order = sorted(range(EPOCHS), key=lambda k: epochs[k]["test"]["loss"])
        self.assertEqual(sorted(range(EPOCHS), key=lambda k: -test[k][1]), order)

    def test_by_epoch_and_time_and_with_a_logarithm(self):
        run = self.new_path("run")
        self.train(self.job, 1, run_dir=run)
        for by, words in (("round", "rounds"), ("epoch", "epochs of data"), ("time", "time of running")):
            self.assertIn(words, self.picture(run, "--by", by).texts)
        self.assertIn("loss (logarithmic)", self.picture(run, "--log").texts)

    def test_two_runs_by_name(self):
        runs = [self.new_path("first"), self.new_path("<second&>")]
        for seed, run in enumerate(runs):
            self.train(self.job, 1, {"epochs": EPOCHS, "seed": seed}, run_dir=run)
        picture = self.picture(*(run.name for run in runs))
        self.assertTrue({"2 runs", runs[0].name, runs[1].name} <= set(picture.texts))
        curves = [picture.curve(f"{run.name}, test")[0] for run in runs]
        self.assertEqual([len(points) for points in curves], [EPOCHS, EPOCHS])
        self.assertNotEqual(curves[0], curves[1])
        self.assertEqual(len(set(picture.looks)), 4)  # a colour a run, a dash a set

    def test_a_resumed_run_with_its_events(self):
        run = self.new_path("run")
        process = self.start_endless(run)
        self.run_instep("stop", run, "--quiet")
        self.assertEqual(self.finish(process).code, 0)
        stopped = self.report(run)["rounds"]
        epochs = int(self.report(run)["data_epochs"]) + 3
        self.resume(run, 3, {"epochs": epochs})
        picture = self.picture(run)
        self.assertEqual(len(picture.flags), 1 + (len(picture.flags) > 1))
        said = "\n".join(picture.flags).replace(",", "")
        self.assertIn(f"round {stopped}: stop: stop", said)
        self.assertIn(f"round {stopped}: resume: after round {stopped} on 3 agents", said)
        self.assertTrue({"stop", "resume"} <= set(picture.texts))
        # The second command's time goes on where the first one's ended.
        begins = [it for it in self.records(run, "metrics.jsonl") if it["record"] == "begin"]
        self.assertEqual([it["agents"] for it in begins], [2, 3])
        self.assertTrue(self.picture(run, "--by", "time").flags)

    def test_skipped_rounds_and_failed_checkpoints_are_marked(self):
        run = self.new_path("run")
        self.train(self.job, 1, {"epochs": 1}, run_dir=run)
        with open(run / "events.jsonl", "a", encoding="utf-8") as events:
            for kind, reason in (("skipped", "the loss of shard 3 is not <finite>"),
                                 ("checkpoint failed", "disk full")):
                print(json.dumps({"record": "event", "at_s": 99, "round": 5, "kind": kind, "agent": -1,
                                  "stall_ms": 0, "reason": reason}), file=events)
        flags = "\n".join(self.picture(run).flags)
        self.assertIn("round 5: skipped: the loss of shard 3 is not <finite>", flags)
        self.assertIn("checkpoint failed: disk full", flags)

    def test_a_long_run_is_drawn_with_its_spike(self):
        run = self.new_path("run")
        self.train(self.job, 1, {"epochs": 1}, run_dir=run)
        spike = 77_777
        with open(run / "metrics.jsonl", "w", encoding="utf-8") as metrics:
            for k in range(1, 150_001):
                loss = 50 if k == spike else 1 + k % 7 / 10
                metrics.write('{"record":"rounds","at_s":%d,"round":%d,"data_epoch":%g,"loss":%g,'
                              '"samples_per_s":100}\n' % (k, k, k / 10, loss))
        training = self.picture(run).curve("training")[0]
        self.assertLess(len(training), 4000)
        self.assertGreater(len(training), 800)
        top = min(training, key=lambda point: point[1])
        others = [y for x, y in training if abs(x - top[0]) > 3]
        self.assertGreater(min(others) - top[1], 100)
        left, right = training[0][0], training[-1][0]
        self.assertAlmostEqual((top[0] - left) / (right - left), spike / 150_000, 2)

    def test_nothing_that_runs_or_comes_from_elsewhere(self):
        run = self.new_path("run")
        self.train(self.job, 1, {"epochs": 1}, run_dir=run)
        path = self.new_path("picture.svg")
        self.plot(run, "-o", path)
        text = path.read_text(encoding="utf-8")
        self.assertNotRegex(text, r"<script|href|@import|url\(|<image|\son\w+=")
        self.assertEqual(re.findall(r"https?://[^\"]*", text), ["http://www.w3.org/2000/svg"])
        self.assertIn("prefers-color-scheme:dark", text)

    def test_where_it_goes(self):
        run = self.new_path("run")
        self.train(self.job, 1, {"epochs": 1}, run_dir=run)
        self.assertEqual(self.plot(run).out, f"wrote {run / 'plot.svg'}\n")
        Picture(run / "plot.svg")
        (run / "plot.svg").write_text("old")
        self.assertEqual(self.plot(run, "--quiet").out, "")
        Picture(run / "plot.svg")  # written over, and nothing left beside it
        self.assertEqual([path.name for path in run.glob("plot*")], ["plot.svg"])
        out = self.plot(run, "-o", "/dev/stdout").out
        self.assertEqual(ElementTree.fromstring(out.encode()).tag, SVG + "svg")

    def test_a_half_written_line_is_left_out_and_said(self):
        run = self.new_path("run")
        self.train(self.job, 1, run_dir=run)
        with open(run / "metrics.jsonl", "a", encoding="utf-8") as metrics:
            metrics.write('{"record":"rounds","at_s":9,"rou')
        result = self.plot(run)
        self.assertEqual(len(result.err.splitlines()), 1, result)
        self.assertRegex(result.err, r"metrics\.jsonl:\d+: this line is no whole record; left out")
        self.assertEqual(len(Picture(run / "plot.svg").curve("test")[0]), 2)

    def test_bad_input_is_one_clear_error(self):
        run = self.new_path("run")
        self.train(self.job, 1, {"epochs": 1}, run_dir=run)
        empty = self.new_path("empty")
        empty.mkdir()
        young = self.new_path("young")
        young.mkdir()
        (young / "run.json").write_text("{}")
        self.refused("plot", parts=["RUN"])
        self.refused("plot", "no-such-run", parts=["no run 'no-such-run'"])
        self.refused("plot", empty, parts=[empty, "no run directory"])
        self.refused("plot", young, parts=[young, "no metrics yet"])
        self.refused("plot", run, young, "-o", "x.svg", parts=[young, "no metrics yet"])
        self.refused("plot", run, run, parts=["-o FILE.svg"])
        self.refused("plot", run, "-o", "x.png", parts=["x.png", "*.svg"])
        self.refused("plot", run, "-o", run / "metrics.jsonl", parts=["*.svg"])
        self.refused("plot", run, "-o", empty, parts=[empty, "is a folder"])
        self.refused("plot", run, "-o", self.folder / "none/x.svg", parts=["none/x.svg"])
        self.refused("plot", run, "--by", "weekday", parts=["weekday", "round, epoch, time"])
        self.refused("plot", *[run] * 17, "-o", "x.svg", parts=["17 runs", "at most 16"])
        self.refused("plot", run, "-o", "/dev/full", parts=["/dev/full"])


if __name__ == "__main__":
    instep_test.main()
