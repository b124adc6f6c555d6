// instep::Trainer alone. Each case is a process under ctest, since a process has one Run.
#include "instep/trainer.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <sstream>

#include "base/testing_folder.h"
#include "base/text.h"
#include "store/checkpoint.h"
#include "train/monitor.h"
#include "train/test_program.h"
#include "train/trainer_impl.h"

namespace instep {
namespace {

struct TrainerNetImpl : torch::nn::Module {
  TrainerNetImpl() {
    register_module("hidden", hidden);
    register_module("out", out);
  }
  at::Tensor forward(const at::Tensor& x) { return out(hidden(x).relu()); }
  torch::nn::Linear hidden{20, 16}, out{16, 5};
};
using TrainerNet = std::shared_ptr<TrainerNetImpl>;

// Data that can be learnt to a point, on which too high a rate then walks about.
struct TrainerProgram {
  explicit TrainerProgram(std::vector<std::string> flags = {}, double lr = 0.05)
      : arguments(std::move(flags)),
        run(arguments.argc(), arguments.argv(), {.epochs = 3, .batch = 50, .shards = 4}),
        net(std::make_shared<TrainerNetImpl>()),
        optimizer(net->parameters(), torch::optim::AdamOptions(lr)) {
    y = x.slice(1, 0, 5).argmax(1);
    y.slice(0, 0, 60) = at::randint(0, 5, {60}, at::kLong);
  }
  Trainer trainer(std::vector<std::string> metrics = {"accuracy"}) {
    return {net, optimizer, losses::cross_entropy(), std::move(metrics)};
  }

  Arguments arguments;
  Run run;
  TrainerNet net;
  torch::optim::Adam optimizer;
  at::Tensor x = at::randn({400, 20}), y;
  Dataset data() const { return Dataset::tensors(x, y); }
};

TEST(TrainerTest, FitsEvaluatesAndPredicts) {
  TrainerProgram program;
  Trainer trainer = program.trainer({"accuracy", "top_3", "auc"});
  const Dataset validation = Dataset::tensors(program.x.slice(0, 300), program.y.slice(0, 300));
  const Dataset train = Dataset::tensors(program.x.slice(0, 0, 300), program.y.slice(0, 0, 300));
  std::vector<std::string> told;
  const History history = trainer.fit(
      train,
      {.epochs = 5,
       .validation = &validation,
       .callbacks = {LambdaCallback{
           .on_train_begin = [&] { told.emplace_back("begin"); },
           .on_round_end = [&](const RoundInfo& round) { told.push_back(cat(round.round)); },
           .on_epoch_end = [&](EpochEnd& end) { told.push_back(cat("epoch ", end.epoch)); },
           .on_train_end =
               [&](const History& all) { told.push_back(cat("end ", all.epochs.size())); }}}});
  ASSERT_EQ(history.epochs.size(), 5U);
  EXPECT_EQ(history.stopped, "");
  EXPECT_LT(history.of("loss").back(), history.of("loss").front());
  for (const char* name : {"loss", "val_loss", "val_accuracy", "val_top_3", "val_auc"}) {
    EXPECT_EQ(history.epochs.back().count(name), 1U) << name;
  }
  ASSERT_EQ(told.size(), 1U + 5 * 7 + 1);
  EXPECT_EQ(told.front(), "begin");
  EXPECT_EQ(told[7], "epoch 1");
  EXPECT_EQ(told.back(), "end 5");

  const Metrics found = trainer.evaluate(validation);
  EXPECT_EQ(found.at("loss"), history.of("val_loss").back());
  EXPECT_EQ(found.at("accuracy"), history.of("val_accuracy").back());
  const at::Tensor outputs = trainer.predict(program.x.slice(0, 300));
  EXPECT_EQ(outputs.sizes(), (std::vector<std::int64_t>{100, 5}));
  const double right = outputs.argmax(1).eq(program.y.slice(0, 300)).sum().item<double>() / 100;
  EXPECT_EQ(found.at("accuracy"), right);
  EXPECT_FALSE(outputs.requires_grad());
  EXPECT_TRUE(program.net->is_training());
  EXPECT_EQ(program.run.impl().loop->final_metrics().at("test_accuracy"), right);
}

TEST(TrainerTest, WhatIsGivenToTheCommandWinsOverTheProgram) {
  TrainerProgram program(
      {"--instep.batch=100", "--instep.metrics=recall", "--instep.split.validation=0.5"});
  Trainer trainer = program.trainer();
  std::vector<std::uint64_t> samples;
  const History history = trainer.fit(
      program.data(), {.epochs = 2,
                       .batch = 10,
                       .validation_split = 0.25,
                       .callbacks = {LambdaCallback{.on_round_end = [&](const RoundInfo& round) {
                         samples.push_back(round.samples);
                       }}}});
  EXPECT_EQ(samples, (std::vector<std::uint64_t>{100, 100, 100, 100}));
  EXPECT_EQ(history.epochs.back().count("val_recall"), 1U);
  EXPECT_EQ(history.epochs.back().count("val_accuracy"), 0U);
}

TEST(TrainerTest, WhatFitLeavesOpenIsTheRuns) {
  TrainerProgram program;
  Trainer trainer = program.trainer({});
  std::uint64_t rounds = 0;
  const History history = trainer.fit(
      program.data(), {.callbacks = {LambdaCallback{.on_round_end = [&](const RoundInfo& round) {
                         rounds = round.round;
                       }}}});
  EXPECT_EQ(rounds, 3U * 8);
  EXPECT_EQ(history.epochs.front().size(), 1U);
}

TEST(TrainerTest, EarlyStoppingPutsTheBestWeightsBack) {
  TrainerProgram program({}, 0.3);
  Trainer trainer = program.trainer();
  const Dataset validation =
      Dataset::tensors(program.x.slice(0, 0, 100), program.y.slice(0, 0, 100));
  at::Tensor last;
  const History history =
      trainer.fit(Dataset::tensors(program.x.slice(0, 100), program.y.slice(0, 100)),
                  {.epochs = 40,
                   .validation = &validation,
                   .verbose = false,
                   .callbacks = {EarlyStopping{.patience = 3, .restore_best = true},
                                 LambdaCallback{.on_epoch_end = [&](EpochEnd&) {
                                   last = flat_parameters(*program.net).clone();
                                 }}}});
  const std::vector<double> losses = history.of("val_loss");
  ASSERT_LT(losses.size(), 40U);
  const auto best = std::min_element(losses.begin(), losses.end());
  EXPECT_EQ(losses.end() - best, 4);
  EXPECT_EQ(history.stopped, "no better val_loss for 3 epochs of data");
  EXPECT_EQ(trainer.evaluate(validation).at("loss"), *best);
  EXPECT_FALSE(at::equal(flat_parameters(*program.net), last));
  program.run.impl().before_report();
  EXPECT_TRUE(at::equal(flat_parameters(*program.net), last));
}

TEST(TrainerTest, TheRateFallsOnAPlateau) {
  TrainerProgram program({}, 0.3);
  Trainer trainer = program.trainer();
  std::vector<double> factors;
  std::vector<EventInfo> events;
  program.run.on_event([&](const EventInfo& event) { events.push_back(event); });
  const History history = trainer.fit(
      program.data(),
      {.epochs = 12,
       .validation_split = 0.25,
       .callbacks = {
           ReduceLROnPlateau{.factor = 0.5, .patience = 1, .min_lr = 0.05, .min_delta = 0},
           LambdaCallback{
               .on_epoch_end = [&](EpochEnd& end) { factors.push_back(end.lr_factor); }}}});
  double best = HUGE_VAL;
  double factor = 1;
  std::vector<double> due;
  for (const double loss : history.of("val_loss")) {
    if (loss >= best) factor = std::max(0.5 * factor, 0.05 / 0.3);
    best = std::min(best, loss);
    due.push_back(factor);
  }
  EXPECT_EQ(factors, due);
  EXPECT_LT(factor, 1);
  EXPECT_FALSE(events.empty());
  EXPECT_EQ(events.front().kind, "learning rate");
  EXPECT_DOUBLE_EQ(program.optimizer.param_groups()[0].options().get_lr(),
                   0.3 * due[due.size() - 2]);
}

// Stops by a reason of its own, and counts what it was told.
struct StopAfter : Callback {
  explicit StopAfter(std::uint64_t epoch) : last(epoch) {}
  void on_epoch_end(EpochEnd& end) override {
    ++calls;
    if (end.epoch == last) end.stop = "enough";
  }
  std::uint64_t last, calls = 0;
};

TEST(TrainerTest, ACallbackOfItsOwnStops) {
  TrainerProgram program;
  Trainer trainer = program.trainer();
  const auto own = std::make_shared<StopAfter>(2);
  const History history =
      trainer.fit(program.data(), {.epochs = 9, .callbacks = {own, StopAfter(5)}});
  EXPECT_EQ(history.epochs.size(), 2U);
  EXPECT_EQ(history.stopped, "enough");
  EXPECT_EQ(own->calls, 2U);
}

TEST(TrainerTest, ModelCheckpointChoosesWhatIsKept) {
  const TestFolder folder;
  TrainerProgram program;
  Trainer trainer = program.trainer({"accuracy", "f1"});
  const History history = trainer.fit(
      program.data(), {.epochs = 6,
                       .validation_split = 0.25,
                       .callbacks = {ModelCheckpoint{.monitor = "val_f1",
                                                     .keep_last = 1,
                                                     .keep_best = 1,
                                                     .folder = (folder.path() / "run").string()}}});
  EXPECT_EQ(program.run.impl().job.stop.metric, "f1");
  std::size_t kept = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "run/checkpoints")) {
    const auto found = store::open_checkpoint(entry.path());
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->manifest.metrics.count("validation_f1"), 1U);
    ++kept;
  }
  const std::vector<double> scores = history.of("val_f1");
  EXPECT_EQ(kept, *std::max_element(scores.begin(), scores.end()) > scores.back() ? 2U : 1U);
}

TEST(TrainerTest, ALossOfItsOwnSaysWhatTheOutputsMean) {
  TrainerProgram program;
  const auto call = [](const at::Tensor& output, const at::Tensor& target) {
    return -output.log_softmax(1).gather(1, target.unsqueeze(1)).mean();
  };
  Trainer trainer{program.net, program.optimizer, Loss(call, Outputs::kClasses), {"perplexity"}};
  trainer.fit(program.data(), {.epochs = 1});
  const Metrics found = trainer.evaluate(program.data());
  EXPECT_NEAR(found.at("perplexity"), std::exp(found.at("loss")), 1e-5);
}

TEST(TrainerTest, BinaryLossesTakeClassesAndFloats) {
  TrainerProgram program;
  torch::nn::Linear one(20, 1);
  torch::optim::SGD sgd(one->parameters(), 0.1);
  const auto net = [one](const at::Tensor& x) mutable { return one(x).sigmoid(); };
  Trainer trainer{*one, net, sgd, losses::binary_cross_entropy(), {"accuracy", "auc"}};
  const at::Tensor yes = program.x.select(1, 0).gt(0);
  trainer.fit(Dataset::tensors(program.x, yes.to(at::kLong)), {.epochs = 20});
  const Metrics found = trainer.evaluate(Dataset::tensors(program.x, yes.to(at::kFloat)));
  EXPECT_GT(found.at("accuracy"), 0.9);
  EXPECT_GT(found.at("auc"), 0.9);
}

TEST(TrainerTest, SummaryCountsParameters) {
  TrainerProgram program;
  program.net->hidden->weight.requires_grad_(false);
  EXPECT_EQ(train::describe(*program.net),
            "layer   type    parameters\n"
            "hidden  Linear         336\n"
            "out     Linear          85\n"
            "total 421 parameters, 101 of them trained\n");
}

TEST(TrainerTest, HistoriesAndMetricsPrintAsTables) {
  History history;
  history.epochs = {{{"loss", 1.5}, {"val_accuracy", 0.25}, {"val_loss", 2}}, {{"loss", 0.75}}};
  history.stopped = "enough";
  std::ostringstream out;
  out << history;
  EXPECT_EQ(out.str(),
            "epoch  loss  val_loss  val_accuracy\n"
            "    1   1.5         2          0.25\n"
            "    2  0.75         -             -\n"
            "stopped: enough\n");
  EXPECT_EQ(to_text(Metrics{{"auc", 0.5}, {"loss", 0.25}}), "loss 0.25, auc 0.5");
}

TEST(MonitorTest, FollowsTheMetricsDirection) {
  train::Monitor loss("val_loss", 0.1);
  EXPECT_TRUE(loss.improved({{"val_loss", 1.0}}));
  EXPECT_FALSE(loss.improved({{"val_loss", 0.95}}));
  EXPECT_TRUE(loss.is_best());  // though by too little
  EXPECT_TRUE(loss.improved({{"val_loss", 0.8}}));
  EXPECT_FALSE(loss.improved({{"val_loss", std::nan("")}}));
  EXPECT_FALSE(loss.is_best());
  EXPECT_FALSE(loss.improved({}));
  train::Monitor accuracy("val_accuracy", 0);
  EXPECT_TRUE(accuracy.improved({{"val_accuracy", 0.5}}));
  EXPECT_FALSE(accuracy.improved({{"val_accuracy", 0.5}}));
  EXPECT_TRUE(accuracy.is_best());  // of equal ones the last, as checkpoints are kept
  EXPECT_FALSE(accuracy.improved({{"val_accuracy", 0.4}}));
  EXPECT_EQ(train::judged_word("val_top_3"), "top-k");
  EXPECT_EQ(train::judged_word("val_f1"), "f1");
  EXPECT_EQ(train::judged_word("loss"), "");
}

void fails(const std::function<void(TrainerProgram&)>& act, const char* said) {
  EXPECT_EXIT(
      {
        TrainerProgram program;
        act(program);
      },
      testing::ExitedWithCode(2), said);
}

TEST(TrainerDeathTest, MistakesAreOneClearError) {
  fails(
      [](TrainerProgram& it) {
        Trainer trainer = it.trainer();
        trainer.fit(it.data());
        trainer.fit(it.data());
      },
      "fit\\(\\) trains once");
  fails([](TrainerProgram& it) { it.trainer({"mae"}); },
        "mae cannot be measured on outputs that are scores");
  fails([](TrainerProgram& it) { it.trainer({"acuracy"}); },
        "there is no metric acuracy; allowed: accuracy");
  fails([](TrainerProgram& it) { it.trainer().fit(it.data(), {.callbacks = {EarlyStopping{}}}); },
        "EarlyStopping monitors val_loss, which no epoch will have; there is loss; give fit");
  fails([](TrainerProgram& it) { it.trainer().fit(it.data(), {.validation_split = 0.95}); },
        "split.validation: found the number 0.95; allowed");
  fails([](TrainerProgram& it) { it.trainer().fit(it.data(), {.batch = 2}); },
        "batch: found 2 with 4");
  fails(
      [](TrainerProgram& it) {
        it.trainer().predict(at::randn({3, 7}));
      },
      "the prediction failed");
  fails(
      [](TrainerProgram& it) {
        it.trainer().fit(it.data(),
                         {.callbacks = {LambdaCallback{
                              .on_epoch_end = [](EpochEnd& end) { end.lr_factor = -1; }}}});
      },
      "factor to -1 after epoch 1");
}

// What tests/trainer_test.py runs on several agents, and resumes. The Trainer makes the Run.
TEST(TrainerProgramTest, StopsEarlyAndRestores) {
  const TrainerNet net = std::make_shared<TrainerNetImpl>();
  const at::Tensor x = at::randn({400, 20});
  at::Tensor y = x.slice(1, 0, 5).argmax(1);
  y.slice(0, 0, 60) = at::randint(0, 5, {60}, at::kLong);
  torch::optim::Adam adam(net->parameters(), torch::optim::AdamOptions(0.2));
  Trainer trainer{net, adam, losses::cross_entropy(), {"accuracy", "auc", "f1"}};
  const Dataset data = Dataset::tensors(x, y);
  const History history = trainer.fit(
      data,
      {.epochs = 40,
       .batch = 40,
       .shards = 5,
       .validation_split = 0.25,
       .callbacks = {ReduceLROnPlateau{.factor = 0.5, .patience = 2},
                     EarlyStopping{.monitor = "val_loss", .patience = 4, .restore_best = true}}});
  const Metrics found = trainer.evaluate(data);
  if (trainer.run().lead()) std::printf("%s%s\n", to_text(history).c_str(), to_text(found).c_str());
  EXPECT_TRUE(history.epochs.empty() || history.epochs.size() < 40);
}

}  // namespace
}  // namespace instep
