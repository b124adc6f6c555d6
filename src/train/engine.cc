#include "train/engine.h"

#include <ATen/Context.h>
#include <ATen/ops/from_blob.h>
#include <torch/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/hash.h"
#include "base/random.h"
#include "base/text.h"
#include "train/autocast.h"
#include "train/tensors.h"

namespace instep::train {

using reduce::kBlockElements;
using reduce::Range;

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
  if (rule == sync::Rule::kReplica && job.stop.parameter_change > 0) {
    return invalid(
        "stop.parameter_change is measured where owners step SGD, Adam or AdamW, and the program "
        "shares another optimizer; use another stop rule");
  }
  return {};
}

}  // namespace

Engine::~Engine() = default;

bool Engine::lead() const { return view_.members.front() == session_.me(); }

bool Engine::spare() const {
  return std::find(view_.members.begin(), view_.members.end(), session_.me()) ==
         view_.members.end();
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
    INSTEP_ASSIGN_OR_RETURN(const auto file, store::SafetensorsFile::open(job.model.init));
    INSTEP_RETURN_IF_ERROR(load_into(engine->binding_.parameters, file, job.model.init));
    INSTEP_RETURN_IF_ERROR(load_into(engine->binding_.frozen, file, job.model.init));
    INSTEP_RETURN_IF_ERROR(load_into(engine->binding_.buffers, file, job.model.init));
  }
  const int moments = sync::moments(engine->rule_, sync::read_settings(optimizer, engine->rule_));
  const std::uint64_t blocks = engine->binding_.space.blocks();
  INSTEP_ASSIGN_OR_RETURN(engine->memory_, sync::StateMemory::map(session.state_file(), blocks,
                                                                  moments, job.ema.decay > 0));

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
  INSTEP_ASSIGN_OR_RETURN(const member::View view, session.ready(ready));
  INSTEP_RETURN_IF_ERROR(engine->take_up(view));
  if (engine->spare()) return engine;

  INSTEP_RETURN_IF_ERROR(engine->fill_my_slices(resumed));
  INSTEP_ASSIGN_OR_RETURN(const auto all_ready, engine->gather({}));
  (void)all_ready;
  engine->point_at_parameters();
  return engine;
}

Status Engine::take_up(const member::View& view) {
  view_ = view;
  session_.words().status.shards.store(0);
  if (spare()) return {};
  INSTEP_RETURN_IF_ERROR(memory_->own(view.slices, session_.me()));
  round::Setup setup;
  setup.view = view;
  setup.me = session_.me();
  setup.shards = static_cast<std::uint32_t>(job_.shards);
  setup.full_samples = static_cast<std::uint32_t>((job_.batch + job_.shards - 1) / job_.shards);
  setup.tensors = binding_.space.tensors();
  if (!binding_.carried.empty()) {
    setup.carried = round::Carried{binding_.carried.parts(), binding_.carried.flags()};
  }
  setup.control = session_.control();
  setup.arenas = session_.arenas();
  setup.shuffle = job_.shuffle_exchange;
  for (const member::Slice& slice : view.slices) {
    if (slice.owner != session_.me() || slice.blocks == 0) continue;
    my_ranges_.push_back({slice.first_block * kBlockElements, slice.blocks * kBlockElements});
    for (const Range& unit :
         reduce::cut_units(binding_.space, slice.first_block, slice.blocks, sync::kUnitElements)) {
      setup.units.push_back(unit);
    }
  }
  for (std::uint32_t shard = 0; shard < view.shard_agent.size(); ++shard) {
    if (view.shard_agent[shard] == session_.me()) my_shards_.push_back(shard);
  }
  session_.words().status.shards.store(static_cast<std::uint32_t>(my_shards_.size()));
  if (replicas_step()) {
    update_ =
        std::make_unique<sync::GradientUpdate>(*memory_, binding_.carried_begin(), setup.units);
  } else {
    update_ = std::make_unique<sync::FusedUpdate>(
        *memory_, binding_.space, binding_.carried_begin(), setup.units, rule_, job_.ema.decay);
  }
  std::vector<at::Tensor> parameters;
  for (const model::NamedTensor& item : binding_.parameters) parameters.push_back(item.tensor);
  gradients_ = std::make_unique<model::Gradients>(std::move(parameters), !binding_.carried.empty(),
                                                  session_.arena());
  gradients_->assign(setup.shards, my_shards_.empty() ? 0 : my_shards_.front(),
                     static_cast<std::uint32_t>(my_shards_.size()));
  const bool crowded =
      view.members.size() * static_cast<std::size_t>(job_.threads) > session_.welcome().processors;
  runner_.spins = crowded ? 100 : 20000;
  // Survivors of a dead coordinator finish their round, so that alone ends no wait.
  runner_.alive = [] { return Status(); };
  exchange_ = std::make_unique<round::Exchange>(std::move(setup));
  return {};
}

std::uint64_t Engine::post(const round::Part& part) {
  Mail& mail = mail_[ticket_ & 1];
  const std::size_t bytes = round::part_bytes(part);
  if (bytes > mail.capacity) {
    session_.arena().give_back(mail.at);
    mail.capacity = bytes + bytes / 2;
    mail.at = static_cast<std::byte*>(session_.arena().take(mail.capacity));
    INSTEP_CHECK(mail.at != nullptr, "an arena holds its mail");
  }
  round::write_part(part, mail.at);
  return bytes;
}

// Forward and backward passes of one shard; the mean loss over its samples.
Result<double> Engine::compute_shard(const ShardWork& work, std::uint32_t shard,
                                     std::uint32_t samples) {
  const auto parts = std::min(samples, static_cast<std::uint32_t>(job_.accumulate));
  double mean = 0;
  std::uint32_t first = 0;
  for (std::uint32_t part = 0; part < parts; ++part) {
    const std::uint32_t count = samples / parts + (part < samples % parts ? 1 : 0);
    at::Tensor loss;
    {
      const Autocast precision(job_.precision);
      loss = work.loss(shard, first, count);
    }
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

Result<std::vector<round::ShardRow>> Engine::compute(const ShardWork& work) {
  std::vector<round::ShardRow> rows;
  const float full = static_cast<float>(exchange_->setup().full_samples);
  gradients_->begin_round();
  for (const std::uint32_t shard : my_shards_) {
    const std::uint32_t samples = work.samples(shard);
    round::ShardRow row{shard, samples, 0};
    gradients_->begin_shard(static_cast<float>(samples) / full);
    if (samples > 0) {
      at::manual_seed(mix(job_.seed, shard, round_));
      INSTEP_ASSIGN_OR_RETURN(row.loss, compute_shard(work, shard, samples));
      if (!binding_.carried.empty()) {
        gradients_->add_carried(binding_.carried.contribution(carried_state()));
        restore_carried();
      }
    }
    gradients_->end_shard();
    rows.push_back(row);
  }
  if (const std::string name = binding_.carried.changed_elsewhere(); !name.empty()) {
    return invalid(cat("buffer ", name,
                       " changes in training, and only dense float32, int64 and int32 buffers on "
                       "the CPU can: convert it, or keep it as it is"));
  }
  return rows;
}

Result<round::Outcome> Engine::run_round(const ShardWork& work, double factor,
                                         round::Directive directive) {
  const auto& groups = optimizer_->param_groups();
  for (std::size_t i = 0; i < groups.size(); ++i) {
    optimizer_->param_groups()[i].options().set_lr(base_lr_[i] * factor);
  }
  INSTEP_ASSIGN_OR_RETURN(const std::vector<round::ShardRow> rows, compute(work));
  ++ticket_;
  const std::uint64_t bytes = post({round_,
                                    lead() ? directive : round::Directive::kNone,
                                    rows,
                                    gradients_->nodes(),
                                    gradients_->offsets(),
                                    {}});
  round::Judging judging;
  judging.clip_norm = job_.optimizer.clip_norm;
  judging.before_apply = judging.clip_norm > 0;
  judging.sums_wanted = judging.before_apply || job_.stop.gradient_norm > 0;
  judging.block_sums = memory_->gradient_sums();
  const bool want_change = job_.stop.parameter_change > 0 && !replicas_step();
  if (auto* fused = dynamic_cast<sync::FusedUpdate*>(update_.get())) {
    fused->prepare(round_, updates_, sync::read_settings(*optimizer_, rule_), judging.before_apply,
                   want_change);
  } else if (auto* gradient = dynamic_cast<sync::GradientUpdate*>(update_.get())) {
    gradient->prepare(round_);
  }
  const Mail& mail = mail_[ticket_ & 1];
  exchange_->begin({ticket_, round_, session_.arena().offset(mail.at), bytes}, judging,
                   update_.get());
  INSTEP_RETURN_IF_ERROR(runner_.run(*exchange_));

  const round::Outcome& outcome = exchange_->outcome();
  const bool failed = outcome.bad_shard || (outcome.bad_norm && judging.before_apply);
  if (failed && job_.on_nonfinite == job::OnNonfinite::kStop) return outcome;
  if (outcome.applied) {
    if (replicas_step()) step_replica();
    if (want_change) {
      parameter_change_ =
          std::sqrt(reduce::tree_sum({memory_->change_sums(), binding_.space.blocks()}));
    }
    ++updates_;
  }
  ++round_;
  if (outcome.applied) binding_.carried.advance(carried_state());
  point_at_parameters();
  // Of my gradients the others read their slices, and I read mine of theirs; then parameters
  // likewise.
  std::uint64_t mine = 0;
  for (const Range& range : my_ranges_) mine += range.count * sizeof(float);
  const std::uint64_t whole = binding_.space.elements() * sizeof(float);
  const std::uint64_t others = view_.members.size() - 1;
  const std::uint64_t nodes = gradients_->nodes().size();
  bytes_sent_ += (whole - mine) * nodes + mine * others;
  bytes_received_ += outcome.bytes_read + (whole - mine);
  return outcome;
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

Result<std::vector<std::span<const std::byte>>> Engine::gather(std::span<const std::byte> mine) {
  ++ticket_;
  const std::uint64_t bytes = post({round_, round::Directive::kNone, {}, {}, {}, mine});
  exchange_->begin_gather({ticket_, round_, session_.arena().offset(mail_[ticket_ & 1].at), bytes});
  INSTEP_RETURN_IF_ERROR(runner_.run(*exchange_));
  return exchange_->gathered();
}

}  // namespace instep::train
