#include "train/job_program.h"

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "model/loss.h"
#include "model/network.h"
#include "model/torchscript.h"
#include "train/batches.h"
#include "train/fit.h"
#include "train/job_optimizer.h"
#include "train/reading.h"
#include "train/report.h"
#include "train/run_impl.h"

namespace instep::train {
namespace {

using nlohmann::json;

class JobProgram {
 public:
  JobProgram(int argc, char** argv) : run_(argc, argv), impl_(run_.impl()), job_(impl_.job) {}

  void go() {
    const std::string& mode = impl_.session->welcome().mode;
    if (job_.model.kind.empty()) {
      impl_.session->fail(
          invalid("the job names no model; set model.kind (docs/models.md lists them)"));
    }
    Result<model::Network> network =
        model::make_network(job_.model, impl_.session->place_of("model.file", job_.model.file));
    if (!network.ok()) impl_.session->fail(network.error());
    network_ = network.take();
    if (mode == "predict" || mode == "export") {
      read(mode);
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
    Status fit = check_fit(job_, *train_);
    if (fit.ok()) fit = data::check_split(*loaded, job_.split);
    if (fit.ok() && job_.model.kind == "torchscript") fit = try_network(job_, *train_, network_);
    if (!fit.ok()) impl_.session->fail(fit.error());
    parts_ = data::split(train_->size, train_->class_span(), job_.split, job_.seed);
    if (test_->size == 0) {
      test_ = train_;
    } else {
      parts_.test = data::first_samples(test_->size);
    }
    const std::size_t most = std::max(parts_.validation.size(), parts_.test.size());
    const Status measurable = check_metrics(metrics_of(job_), *train_, most);
    if (!measurable.ok()) impl_.session->fail(measurable.error());
  }

  void train() {
    network_.module->train();
    impl_.engine->only_ours_between_rounds();
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
    const train::Engine::Outside long_work(*impl_.engine);
    network_.module->eval();
    fabric::AgentStatus& status = impl_.session->words().status;
    status.state.store(static_cast<std::uint32_t>(fabric::AgentState::kEvaluating));
    std::map<std::string, double> out;
    const auto add = [this, &out](const std::string& set, const std::shared_ptr<data::Table>& table,
                                  const std::vector<std::uint64_t>& samples) {
      if (samples.empty()) return;
      const Metrics found = impl_.measure(
          *table, samples, metrics_of(job_),
          [this](const Batch& batch) { return network_.forward(batch.data); },
          [this](const at::Tensor& output, const at::Tensor& target) {
            return model::measured_loss(job_, output, target);
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
    json report = json::parse(train::report(*impl_.engine, nullptr, job_, ""));
    for (const auto& [name, value] : measure()) {
      const std::size_t cut = name.find('_');
      report[name.substr(0, cut)][name.substr(cut + 1)] = value;
    }
    impl_.reported = true;
    impl_.session->done(report.dump());
  }

  // `instep predict`, and TorchScript's part of `instep export`, whose weights lie in its folder.
  void read(const std::string& mode) {
    const std::filesystem::path argument = impl_.session->welcome().predict_input;
    const std::filesystem::path folder = mode == "export" ? argument : impl_.resumed->folder;
    Status status = load_weights(network_, folder / "model.safetensors");
    if (status.ok() && mode == "predict" && job_.ema.decay > 0) {
      status = load_averages(network_, folder / "state.safetensors");
    }
    if (status.ok()) {
      status = mode == "export" ? model::save_torchscript(*network_.module, folder / "model.pt")
                                : train::predict(job_, network_, argument);
    }
    if (!status.ok()) impl_.session->fail(status.error());
    impl_.reported = true;
    impl_.session->done("{}");
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
