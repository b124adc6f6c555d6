#include "train/job_program.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/softmax.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "model/loss.h"
#include "model/network.h"
#include "store/safetensors.h"
#include "train/batches.h"
#include "train/fit.h"
#include "train/job_optimizer.h"
#include "train/report.h"
#include "train/run_impl.h"
#include "train/tensors.h"

namespace instep::train {
namespace {

using nlohmann::json;

class JobProgram {
 public:
  JobProgram(int argc, char** argv) : run_(argc, argv), impl_(run_.impl()), job_(impl_.job) {}

  void go() {
    const std::string& mode = impl_.session->welcome().mode;
    if (job_.model.kind.empty()) {
      impl_.session->fail(invalid("the job names no model; set model.kind = \"mlp\""));
    }
    Result<model::Network> network = model::make_network(job_.model);
    if (!network.ok()) impl_.session->fail(network.error());
    network_ = network.take();
    if (mode == "predict") {
      predict();
      return;
    }
    load_data();
    optimizer_ = make_optimizer(*network_.module, job_.optimizer);
    run_.share(*network_.module, *optimizer_);
    mode == "evaluate" ? evaluate() : train();
  }

 private:
  void load_data() {
    const Fd* image = impl_.session->dataset();
    Result<data::Dataset> loaded =
        image != nullptr ? data::map_image(*image) : data::load(job_.data, job_.loss, job_.seed);
    if (!loaded.ok()) impl_.session->fail(loaded.error());
    train_ = std::make_shared<data::Table>(loaded->train);
    test_ = std::make_shared<data::Table>(loaded->test);
    if (const Status fit = check_fit(job_, *train_); !fit.ok()) impl_.session->fail(fit.error());
    job::Split split = job_.split;
    if (test_->size > 0) split.test = 0;
    const auto classes = train_->classes == nullptr ? std::span<const std::int32_t>()
                                                    : std::span(train_->classes, train_->size);
    parts_ = data::split(train_->size, classes, split, job_.seed);
    if (test_->size == 0) {
      test_ = train_;
    } else {
      parts_.test.resize(test_->size);
      for (std::uint64_t i = 0; i < test_->size; ++i) parts_.test[i] = i;
    }
    const std::size_t most = std::max(parts_.validation.size(), parts_.test.size());
    const Status measurable = check_metrics(metrics_of(job_), *train_, most);
    if (!measurable.ok()) impl_.session->fail(measurable.error());
  }

  void train() {
    network_.module->train();
    run_.on_epoch([this](EpochInfo& epoch) {
      const bool last = epoch.data_epoch == static_cast<std::uint64_t>(job_.epochs);
      if (job_.evaluate_each_epoch || last) epoch.metrics = measure();
    });
    const Dataset dataset(train_);
    for (Round& round : run_.rounds(dataset, parts_.train)) {
      round.step([this](const Batch& batch) {
        return model::loss(job_, network_.forward(batch.data), batch.target);
      });
    }
    // Stopped within an epoch of data, or between two evaluations; the checkpoint is saved by now.
    train::Loop& loop = *impl_.loop;
    if (loop.wants_measuring()) loop.set_final_metrics(measure());
  }

  std::map<std::string, double> measure() {
    network_.module->eval();
    fabric::AgentStatus& status = impl_.session->words().status;
    status.state.store(static_cast<std::uint32_t>(fabric::AgentState::kEvaluating));
    std::map<std::string, double> out;
    const auto add = [this, &out](const std::string& set, const std::shared_ptr<data::Table>& table,
                                  const std::vector<std::uint64_t>& samples) {
      if (samples.empty()) return;
      job::Job plain = job_;  // the loss is told without the label smoothing that trains
      plain.label_smoothing = 0;
      const Metrics found = impl_.measure(
          *table, samples, metrics_of(job_),
          [this](const Batch& batch) { return network_.forward(batch.data); },
          [&plain](const at::Tensor& output, const at::Tensor& target) {
            return model::loss(plain, output, target);
          });
      for (const auto& [name, value] : found) out[cat(set, "_", name)] = value;
    };
    add("validation", train_, parts_.validation);
    add("test", test_, parts_.test);
    network_.module->train();
    status.state.store(static_cast<std::uint32_t>(fabric::AgentState::kTraining));
    return out;
  }

  // `instep eval`: the sets of the job, measured with a checkpoint's weights.
  void evaluate() {
    if (impl_.engine->spare()) return;
    json report = json::parse(train::report(*impl_.engine, nullptr, job_));
    for (const auto& [name, value] : measure()) {
      const std::size_t cut = name.find('_');
      report[name.substr(0, cut)][name.substr(cut + 1)] = value;
    }
    impl_.reported = true;
    impl_.session->done(report.dump());
  }

  // `instep predict`: one line a sample on stdout.
  void predict() {
    auto weights = store::SafetensorsFile::open(impl_.resumed->folder / "model.safetensors");
    if (!weights.ok()) impl_.session->fail(weights.error());
    const std::filesystem::path where = impl_.resumed->folder / "model.safetensors";
    std::vector<model::NamedTensor> tensors;
    for (const auto& item : network_.module->named_parameters()) {
      tensors.push_back({item.key(), item.value()});
    }
    if (const Status loaded = load_into(tensors, *weights, where); !loaded.ok()) {
      impl_.session->fail(loaded.error());
    }
    const std::string& input = impl_.session->welcome().predict_input;
    auto table =
        data::load_inputs(input, job_.data, static_cast<std::uint64_t>(job_.model.layers.front()));
    if (!table.ok()) impl_.session->fail(table.error());
    network_.module->eval();
    const at::NoGradGuard guard;
    const auto step = static_cast<std::uint64_t>(job_.eval_batch);
    for (std::uint64_t begin = 0; begin < table->size; begin += step) {
      std::vector<std::uint64_t> samples;
      for (std::uint64_t i = begin; i < std::min(begin + step, table->size); ++i) {
        samples.push_back(i);
      }
      print(network_.forward(make_inputs(*table, samples)));
    }
    std::fflush(stdout);
    impl_.reported = true;
    impl_.session->done("{}");
  }

  // Cross-entropy: the class and its probability; else the outputs (bce: as probabilities).
  void print(const at::Tensor& output) const {
    at::Tensor values = output;
    if (job_.loss == job::Loss::kCrossEntropy) values = at::softmax(output, 1);
    if (job_.loss == job::Loss::kBce) values = output.sigmoid();
    values = values.contiguous();
    const auto* at = values.const_data_ptr<float>();
    for (std::int64_t row = 0; row < values.size(0); ++row, at += values.size(1)) {
      if (job_.loss == job::Loss::kCrossEntropy) {
        const auto best = std::max_element(at, at + values.size(1)) - at;
        std::printf("%td %.6f\n", best, static_cast<double>(at[best]));
        continue;
      }
      for (std::int64_t column = 0; column < values.size(1); ++column) {
        std::printf(column == 0 ? "%.9g" : " %.9g", static_cast<double>(at[column]));
      }
      std::printf("\n");
    }
  }

  Run run_;
  Run::Impl& impl_;
  const job::Job& job_;
  model::Network network_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::shared_ptr<data::Table> train_, test_;
  data::Parts parts_;
};

}  // namespace

int run_job(int argc, char** argv) {
  JobProgram program(argc, argv);
  program.go();
  return 0;
}

}  // namespace instep::train
