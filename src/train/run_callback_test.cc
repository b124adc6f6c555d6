// Callbacks, settings and checkpoints of a program that runs alone.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/testing_folder.h"
#include "base/text.h"
#include "instep/run.h"
#include "store/checkpoint.h"
#include "store/safetensors.h"
#include "train/test_program.h"

namespace instep {
namespace {

namespace F = torch::nn::functional;

struct Program {
  explicit Program(std::vector<std::string> flags, const Defaults& defaults)
      : arguments(std::move(flags)), run(arguments.argc(), arguments.argv(), defaults) {}

  at::Tensor loss(const Batch& batch) { return F::cross_entropy(net(batch.data), batch.target); }
  void share() {
    optimizer = std::make_unique<torch::optim::SGD>(net->parameters(), 0.1);
    run.share(net, *optimizer);
  }

  Arguments arguments;
  Run run;
  torch::nn::Linear net{20, 5};
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  Samples data{203};
  Dataset dataset = Dataset::tensors(data.x, data.y);
};

TEST(RunCallbackTest, RoundsAndEpochsAreToldInOrder) {
  Program program({}, {.epochs = 2, .batch = 50, .shards = 8});
  program.share();
  std::vector<std::string> told;
  std::vector<RoundInfo> rounds;
  std::vector<EpochInfo> epochs;
  program.run.on_round([&](const RoundInfo& info) {
    told.push_back(cat("round ", info.round));
    rounds.push_back(info);
  });
  program.run.on_round([&](const RoundInfo&) { told.emplace_back("second"); });
  program.run.on_epoch([&](EpochInfo& info) {
    info.metrics["test_loss"] = 0.5;
    told.push_back(cat("epoch ", info.data_epoch));
  });
  program.run.on_epoch([&](EpochInfo& info) { epochs.push_back(info); });
  std::vector<double> losses;
  for (Round& round : program.run.rounds(program.dataset)) {
    EXPECT_EQ(round.number(), losses.size());
    EXPECT_EQ(round.data_epoch(), losses.size() / 5);
    losses.push_back(round.step([&](const Batch& batch) { return program.loss(batch); }));
  }
  ASSERT_EQ(rounds.size(), 10U);
  std::vector<std::string> due;
  for (int round = 1; round <= 10; ++round) {
    due.push_back(cat("round ", round));
    due.emplace_back("second");
    if (round % 5 == 0) due.push_back(cat("epoch ", round / 5));
  }
  EXPECT_EQ(told, due);
  ASSERT_EQ(epochs.size(), 2U);
  for (std::size_t epoch = 0; epoch < 2; ++epoch) {
    double sum = 0;
    std::uint64_t samples = 0;
    for (std::size_t i = 5 * epoch; i < 5 * epoch + 5; ++i) {
      EXPECT_EQ(rounds[i].loss, losses[i]);
      EXPECT_DOUBLE_EQ(rounds[i].data_epoch, static_cast<double>(i + 1) / 5);
      sum += rounds[i].loss * static_cast<double>(rounds[i].samples);
      samples += rounds[i].samples;
    }
    EXPECT_EQ(samples, 203U);
    EXPECT_NEAR(epochs[epoch].train_loss, sum / 203, 1e-12);
    EXPECT_EQ(epochs[epoch].round, 5 * (epoch + 1));
    EXPECT_EQ(epochs[epoch].metrics.at("test_loss"), 0.5);
  }
}

TEST(RunCallbackTest, ASkippedRoundIsAnEventAndMovesNothing) {
  Program program({"--instep.on_nonfinite=skip"}, {.batch = 50, .shards = 8});
  program.share();
  std::vector<EventInfo> events;
  program.run.on_event([&](const EventInfo& info) { events.push_back(info); });
  for (Round& round : program.run.rounds(program.dataset)) {
    const std::uint64_t number = round.number();
    const at::Tensor before = flat_parameters(*program.net).clone();
    round.step([&](const Batch& batch) {
      const at::Tensor loss = program.loss(batch);
      return number == 2 && batch.shard == 3 ? loss * std::nan("") : loss;
    });
    EXPECT_EQ(before.equal(flat_parameters(*program.net)), number == 2) << number;
  }
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].round, 3U);  // rounds done
  EXPECT_EQ(events[0].kind, "skipped");
  EXPECT_EQ(events[0].reason, "the loss of shard 3 is not finite");
}

class RunCheckpointTest : public testing::Test {
 protected:
  const std::filesystem::path& folder() const { return folder_.path(); }
  // Trains to the end and exits with 0.
  static void train(const std::filesystem::path& run_dir) {
    {
      Program program({cat("--instep.run-dir=", run_dir.string())}, {.batch = 50, .shards = 8});
      program.share();
      for (Round& round : program.run.rounds(program.dataset)) {
        round.step([&](const Batch& batch) { return program.loss(batch); });
      }
    }
    std::exit(0);
  }

 private:
  TestFolder folder_;
};

TEST_F(RunCheckpointTest, ARunDirectoryAloneHoldsCheckpointsAndTheyAreTold) {
  const auto run_dir = folder() / "new" / "run";
  Program program({cat("--instep.run-dir=", run_dir.string())},
                  {.epochs = 3, .batch = 50, .shards = 8});
  program.share();
  std::vector<CheckpointInfo> told;
  program.run.on_checkpoint([&](const CheckpointInfo& info) { told.push_back(info); });
  for (Round& round : program.run.rounds(program.dataset)) {
    round.step([&](const Batch& batch) { return program.loss(batch); });
  }
  ASSERT_EQ(told.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(told[i].round, 5 * (i + 1));
    EXPECT_EQ(told[i].folder, store::checkpoint_folder(run_dir, told[i].round));
  }
  const auto newest = store::newest_checkpoint(run_dir);
  ASSERT_TRUE(newest.ok()) << newest.error().message;
  EXPECT_EQ(newest->manifest.round, 15U);
  EXPECT_EQ(newest->manifest.model, "program");
}

// With an optimizer that owners do not know the weights are saved all the same.
TEST_F(RunCheckpointTest, WeightsThatEveryAgentStepsAreSavedToo) {
  Program program({cat("--instep.run-dir=", (folder() / "run").string())},
                  {.batch = 50, .shards = 8});
  program.optimizer = std::make_unique<torch::optim::RMSprop>(program.net->parameters(), 1e-2);
  program.run.share(program.net, *program.optimizer);
  for (Round& round : program.run.rounds(program.dataset)) {
    round.step([&](const Batch& batch) { return program.loss(batch); });
  }
  const auto newest = store::newest_checkpoint(folder() / "run");
  ASSERT_TRUE(newest.ok()) << newest.error().message;
  const auto file = store::SafetensorsFile::open(newest->folder / "model.safetensors");
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto* weight = file->find("weight");
  ASSERT_NE(weight, nullptr);
  EXPECT_EQ(std::memcmp(file->bytes(*weight).data(), program.net->weight.const_data_ptr(),
                        program.net->weight.nbytes()),
            0);
}

// A place that cannot be had is no small print.
TEST_F(RunCheckpointTest, ARunDirectoryThatCannotBeMadeIsRefused) {
  EXPECT_EXIT(train("/proc/nowhere/run"), testing::ExitedWithCode(2), "/proc/nowhere/run");
}

// Another run's checkpoints would be taken for this one's.
TEST_F(RunCheckpointTest, ARunDirectoryThatHoldsCheckpointsIsRefused) {
  EXPECT_EXIT(train(folder()), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(train(folder()), testing::ExitedWithCode(2), "holds checkpoints already");
}

// Flags over INSTEP_SET over the program's own defaults.
TEST(RunSettingsTest, FlagsWinOverTheEnvironmentOverDefaults) {
  ::setenv("INSTEP_SET", "epochs=2; batch=40; threads=2", 1);
  Program program({"--other", "--instep.epochs=3", "7"}, {.epochs = 1, .batch = 50, .shards = 4});
  EXPECT_EQ(at::get_num_threads(), 2);
  program.share();
  std::map<std::uint32_t, int> shards;
  std::uint64_t epochs = 0;
  program.run.on_round([&](const RoundInfo& info) {
    if (info.round == 1) {
      EXPECT_EQ(info.samples, 40U);
    }
  });
  program.run.on_epoch([&](EpochInfo& info) { epochs = info.data_epoch; });
  for (Round& round : program.run.rounds(program.dataset)) {
    round.step([&](const Batch& batch) {
      ++shards[batch.shard];
      return program.loss(batch);
    });
  }
  EXPECT_EQ(epochs, 3U);
  EXPECT_EQ(shards.size(), 4U);
}

}  // namespace
}  // namespace instep
