#include "train/engine.h"

#include <ATen/Context.h>
#include <ATen/ops/from_blob.h>
#include <torch/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/failpoint.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/text.h"
#include "round/coding.h"
#include "train/autocast.h"
#include "train/tensors.h"

namespace instep::train {

namespace {

Status check_model(const model::Binding& binding, const job::Job& job, sync::Rule rule) {
  for (const auto* list : {&binding.parameters, &binding.frozen, &binding.buffers}) {
    for (const model::NamedTensor& item : *list) {
      if (as_bytes(item.name, item.tensor).dtype == "?") {
        return invalid(cat(item.name, " is ", item.tensor.toString(),
                           ", which a safetensors checkpoint cannot hold"));
      }
      if (list != &binding.parameters && !item.tensor.is_contiguous()) {
        return invalid(cat(item.name,
                           " does not lie in memory in its own order (it is transposed "
                           "or a part of another tensor); register its contiguous() instead"));
      }
    }
  }
  if (rule == sync::Rule::kReplica && job.policy.kind == job::PolicyKind::kSharded) {
    return invalid(
        "policy.kind = \"sharded\" shards the state of SGD, Adam and AdamW, and the program shares "
        "another optimizer; use policy.kind = \"all-reduce\"");
  }
  if (rule == sync::Rule::kReplica && job.ema.decay > 0) {
    return invalid(
        "ema.decay is kept where owners step SGD, Adam or AdamW, and the program shares another "
        "optimizer; set ema.decay = 0");
  }
  if (rule == sync::Rule::kReplica && job.codec.kind == job::CodecKind::kTopK) {
    return invalid(
        "codec.kind = \"top-k\" keeps what it does not send where owners step SGD, Adam or AdamW, "
        "and the program shares another optimizer; use bf16 or int8");
  }
  if (rule == sync::Rule::kReplica && job.stop.parameter_change > 0) {
    return invalid(
        "stop.parameter_change is measured where owners step SGD, Adam or AdamW, and the program "
        "shares another optimizer; use another stop rule");
  }
  return {};
}

}  // namespace

Engine::~Engine() = default;

std::vector<member::AgentId> Engine::participants() const {
  return member::participants(seat_.view(), seat_.op());
}

bool Engine::lead() const {
  if (!member_) return false;
  const auto all = participants();
  return !all.empty() && all.front() == session_.me();
}

void Engine::busy(fabric::Busy what) {
  session_.words().busy.store(static_cast<std::uint32_t>(what), std::memory_order_relaxed);
  session_.words().beats.fetch_add(1, std::memory_order_relaxed);
}

Result<std::unique_ptr<Engine>> Engine::start(Session& session, const job::Job& job,
                                              torch::nn::Module& module,
                                              torch::optim::Optimizer& optimizer,
                                              const std::optional<store::Found>& resumed) {
  std::unique_ptr<Engine> engine(new Engine(session, job));
  engine->optimizer_ = &optimizer;
  INSTEP_ASSIGN_OR_RETURN(engine->binding_, model::bind(module, optimizer));
  engine->rule_ = sync::rule_of(optimizer);
  INSTEP_RETURN_IF_ERROR(check_model(engine->binding_, job, engine->rule_));
  for (auto& group : optimizer.param_groups()) engine->base_lr_.push_back(group.options().get_lr());
  if (resumed) {
    INSTEP_RETURN_IF_ERROR(engine->restore(*resumed));
  } else if (!job.model.init.empty()) {
    const std::string here = session.place_of("model.init", job.model.init);
    INSTEP_ASSIGN_OR_RETURN(const auto file, store::SafetensorsFile::open(here));
    INSTEP_RETURN_IF_ERROR(load_into(engine->binding_.parameters, file, job.model.init));
    INSTEP_RETURN_IF_ERROR(load_into(engine->binding_.frozen, file, job.model.init));
    INSTEP_RETURN_IF_ERROR(load_into(engine->binding_.buffers, file, job.model.init));
  }
  const int moments = sync::moments(engine->rule_, sync::read_settings(optimizer, engine->rule_));
  const std::uint64_t blocks = engine->binding_.space.blocks();
  INSTEP_ASSIGN_OR_RETURN(
      engine->memory_,
      sync::StateMemory::map(session.state_file(), blocks, moments, job.ema.decay > 0,
                             round::coding_of(job).residuals()));

  wire::Ready ready;
  ready.job_json = job::to_json(job);
  ready.job_hash = job::hash(job);
  ready.shards = static_cast<std::uint32_t>(job.shards);
  ready.blocks = blocks;
  const bool servers = job.policy.kind == job::PolicyKind::kParameterServer;
  ready.owners = servers ? "servers" : "all";
  ready.servers = static_cast<std::uint32_t>(job.policy.servers);
  ready.first_round = engine->round_;
  std::uint64_t fast = 0;
  for (const store::TensorBytes& tensor : engine->parameters()) {
    fast = xxh3(tensor.bytes, mix(fast, xxh3(std::as_bytes(std::span(tensor.name)))));
  }
  ready.state_hash =
      cat(std::hex, fast, std::dec, " at round ", engine->round_, ", update ", engine->updates_);
  ready.joinable = !engine->replicas_step();
  for (const reduce::Range& tensor : engine->binding_.space.tensors()) {
    ready.tensor_begin.push_back(tensor.begin);
    ready.tensor_count.push_back(tensor.count);
  }
  ready.carried = !engine->binding_.carried.empty();
  ready.checks_at_even = engine->memory_->checks_at(0);
  ready.checks_at_odd = engine->memory_->checks_at(1);
  ready.state_at_even = engine->memory_->state_at(0);
  ready.state_at_odd = engine->memory_->state_at(1);
  std::vector<at::Tensor> parameters;
  for (const model::NamedTensor& item : engine->binding_.parameters) {
    parameters.push_back(item.tensor);
  }
  engine->gradients_ = std::make_unique<model::Gradients>(
      std::move(parameters), !engine->binding_.carried.empty(), session.arena());
  engine->undo_ = std::make_unique<round::UndoSlot>(
      session.arena(), session.words(), engine->memory_->data(), engine->memory_->stepped(),
      engine->memory_->stamps(), sync::kUnitElements);
  failpoint("start.made");
  INSTEP_RETURN_IF_ERROR(session.ready(ready));
  failpoint("start.ready");
  if (session.joining()) return engine;

  // Whoever has a place in the first view begins with this op; the others come in later.
  while (engine->seat_.view().epoch.number == 0) {
    if (auto view = engine->seat_.first()) {
      engine->seat_.take(std::move(*view));
    } else {
      INSTEP_RETURN_IF_ERROR(session.wait_for_news());
    }
  }
  failpoint("start.view");
  INSTEP_ASSIGN_OR_RETURN(const auto shards, engine->take_up(false));
  (void)shards;
  if (engine->spare()) return engine;
  // Whoever takes slices over before everybody has filled theirs fills them too.
  const Make fill = [&]() -> Result<std::vector<std::byte>> {
    INSTEP_RETURN_IF_ERROR(engine->fill_my_slices(resumed));
    failpoint("start.filled");
    return std::vector<std::byte>();
  };
  INSTEP_ASSIGN_OR_RETURN(const auto all_ready, engine->gather(fill));
  (void)all_ready;
  failpoint("start.gathered");
  engine->point_at_parameters();
  return engine;
}

// Forward and backward passes of one shard; the mean loss over its samples.
at::Tensor Engine::forward(const ShardWork& work, std::uint32_t shard, std::uint32_t first,
                           std::uint32_t count) const {
  const Autocast precision(job_.precision);
  return work.loss(shard, first, count);
}

Result<double> Engine::compute_shard(const ShardWork& work, std::uint32_t shard,
                                     std::uint32_t samples, at::Tensor begun) {
  const auto parts = std::min(samples, static_cast<std::uint32_t>(job_.accumulate));
  double mean = 0;
  std::uint32_t first = 0;
  for (std::uint32_t part = 0; part < parts; ++part) {
    const std::uint32_t count = samples / parts + (part < samples % parts ? 1 : 0);
    at::Tensor loss = std::exchange(begun, {});
    if (!loss.defined()) loss = forward(work, shard, first, count);
    if (!loss.defined() || loss.numel() != 1 || !loss.requires_grad()) {
      return invalid(
          "the loss that the program returned is not a single number that depends on the "
          "model's parameters; return e.g. torch::mse_loss(model->forward(batch.data), …)");
    }
    gradients_->begin_part(part + 1 == parts);
    if (parts == 1) {
      loss.backward();
      return loss.item<double>();
    }
    // A part weighs what it has of the shard's samples.
    const double weight = static_cast<double>(count) / samples;
    loss.mul(weight).backward();
    mean += loss.item<double>() * weight;
    first += count;
  }
  return mean;
}

void Engine::point_at_parameters() {
  if (!replicas_step()) binding_.point_at(memory_->parameters(round_));
  restore_carried();
}

const float* Engine::carried_state() const {
  return memory_->parameters(round_) + binding_.carried_begin();
}

void Engine::restore_carried() { binding_.carried.restore(carried_state()); }

void Engine::use_average(bool use) {
  if (memory_->average() == nullptr) return;
  binding_.point_at(use ? memory_->average() : memory_->parameters(round_));
}

void Engine::step_replica() {
  for (std::size_t i = 0; i < binding_.parameters.size(); ++i) {
    const at::Tensor& parameter = binding_.parameters[i].tensor;
    parameter.mutable_grad() =
        at::from_blob(memory_->combined() + binding_.space.tensors()[i].begin, parameter.sizes(),
                      at::kFloat)
            .clone();
  }
  optimizer_->step();
  for (const model::NamedTensor& item : binding_.parameters) item.tensor.mutable_grad().reset();
}

}  // namespace instep::train
