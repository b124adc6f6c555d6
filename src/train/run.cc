#include "instep/run.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "model/arena_allocator.h"
#include "store/folder.h"
#include "train/environment.h"
#include "train/guarded.h"
#include "train/report.h"
#include "train/run_impl.h"

namespace instep {
namespace {

// `--instep.KEY=VALUE` among a program's arguments.
std::vector<std::string> own_flags(int argc, char** argv) {
  constexpr std::string_view kPrefix = "--instep.";
  std::vector<std::string> out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.substr(0, kPrefix.size()) == kPrefix) {
      out.emplace_back(argument.substr(kPrefix.size()));
    }
  }
  return out;
}

using train::guarded;

Run* the_run = nullptr;

Result<job::Resolved> resolve(const train::Session& session, std::vector<std::string> flags,
                              const Defaults& defaults) {
  const wire::Welcome& welcome = session.welcome();
  if (!welcome.job_json.empty()) {
    INSTEP_ASSIGN_OR_RETURN(job::Job whole, job::from_json(welcome.job_json));
    return job::Resolved{std::move(whole), {}};
  }
  job::Job own;
  own.name = "program";
  own.epochs = defaults.epochs;
  own.batch = defaults.batch;
  own.shards = defaults.shards;
  own.seed = defaults.seed;
  own.optimizer.clip_norm = defaults.clip_norm;
  // What was said to `instep run` comes after the program's own flags, so that it wins.
  flags.insert(flags.end(), welcome.sets.begin(), welcome.sets.end());
  const char* environment = std::getenv("INSTEP_SET");
  INSTEP_ASSIGN_OR_RETURN(
      job::Resolved resolved,
      job::parse(welcome.job_toml, welcome.job_name, welcome.job_folder, flags,
                 job::split_sets(environment == nullptr ? "" : environment), own));
  INSTEP_RETURN_IF_ERROR(job::validate(resolved.job));
  return resolved;
}

// The place for checkpoints of a program that runs alone. A launcher has prepared its own.
Status prepare_run_dir(const std::filesystem::path& run_dir) {
  std::error_code error;
  std::filesystem::create_directories(run_dir, error);
  if (error) return os_error("cannot make the folder of checkpoints", run_dir, error.value());
  INSTEP_ASSIGN_OR_RETURN(const auto folders, store::list_folders(run_dir));
  for (const store::Folder& folder : folders) {
    if (!folder.finished) continue;
    return Error{ErrorKind::kTaken, cat("the folder of checkpoints ", run_dir.string(),
                                        " holds checkpoints already; choose another folder")};
  }
  return {};
}

// `call` as a callback that does not throw.
template <class Info>
std::function<void(Info)> guarded_callback(Run::Impl& impl, const char* name,
                                           std::function<void(Info)> call) {
  return [&impl, name, call = std::move(call)](Info info) {
    guarded(
        *impl.session, [&] { call(info); },
        [&] { return cat(name, "'s callback failed after round ", impl.engine->round()); });
  };
}

}  // namespace

Run::Run(int argc, char** argv, const Defaults& defaults) : impl_(std::make_unique<Impl>()) {
  // Under the launcher stdout is a pipe, and a line should be seen when it is printed.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file size is an error of the write, not a death
  train::set_threads_early();
  auto session = train::Session::start(train::fingerprint());
  if (!session.ok()) {
    std::fprintf(stderr, "instep: %s\n", session.error().message.c_str());
    std::_Exit(train::exit_code(session.error().kind));
  }
  impl_->session = *session;
  std::vector<std::string> flags;
  for (std::string& flag : own_flags(argc, argv)) {
    if (flag.rfind("run-dir=", 0) == 0) {
      impl_->run_dir = flag.substr(8);
    } else {
      flags.push_back(std::move(flag));
    }
  }
  auto resolved = resolve(*impl_->session, flags, defaults);
  if (!resolved.ok()) impl_->session->fail(resolved.error());
  impl_->job = std::move(resolved->job);
  impl_->job_is_whole = !impl_->session->welcome().job_json.empty();
  for (const job::Given& one : resolved->given) impl_->given.push_back(one.key);
  if (const Status ready = train::prepare_libtorch(impl_->job); !ready.ok()) {
    impl_->session->fail(ready.error());
  }
  model::install_arena(impl_->session->arena());
  const wire::Welcome& welcome = impl_->session->welcome();
  if (!impl_->session->alone()) {
    impl_->run_dir = welcome.run_dir;
  } else if (const std::filesystem::path asked = std::exchange(impl_->run_dir, {});
             !asked.empty()) {
    impl_->use_run_dir(asked);
  }
  the_run = this;
  // A newcomer takes over what is in memory; the checkpoint may be gone by now.
  if (!welcome.checkpoint.empty() && !impl_->session->joining()) {
    auto found = store::open_checkpoint(welcome.checkpoint);
    if (!found.ok()) impl_->session->fail(found.error());
    impl_->resumed = found.take();
  }
}

Run::~Run() {
  impl_->finish();
  the_run = nullptr;
}

Run* train::current_run() { return the_run; }

void Run::Impl::use_run_dir(const std::filesystem::path& folder) {
  if (!session->alone() || !run_dir.empty()) return;
  if (const Status made = prepare_run_dir(folder); !made.ok()) session->fail(made.error());
  run_dir = folder;
}

int Run::agent() const { return impl_->session->me(); }

int Run::agents() const {
  const bool alone = impl_->engine == nullptr || impl_->engine->spare();
  return alone ? 1 : static_cast<int>(impl_->engine->view().members.size());
}

bool Run::lead() const {
  const bool joining = impl_->session->joining();
  return impl_->engine == nullptr ? impl_->session->me() == 0 && !joining : impl_->engine->lead();
}

void Run::share(torch::nn::Module& module, torch::optim::Optimizer& optimizer) {
  guarded(
      *impl_->session, [&] { impl_->share(module, optimizer); },
      [] { return "the module could not be shared"; });
}

void Run::Impl::share(torch::nn::Module& module, torch::optim::Optimizer& optimizer) {
  INSTEP_CHECK(engine == nullptr, "a Run shares one module, once");
  auto started = train::Engine::start(*session, job, module, optimizer, resumed);
  if (!started.ok()) session->fail(started.error());
  engine = started.take();
}

void Run::Impl::start_loop(std::shared_ptr<const data::Table> table,
                           std::vector<std::uint64_t> samples) {
  INSTEP_CHECK(engine != nullptr, "share() comes before rounds()");
  handed_out.reset();
  if (static_cast<std::int64_t>(samples.size()) < job.shards) {
    session->fail(invalid(cat("the training set has ", samples.size(), " samples for ", job.shards,
                              " shards; set shards to at most that many")));
  }
  if (job.partition == job::PartitionKind::kStratified && table->classes == nullptr) {
    session->fail(
        invalid("partition.strategy = \"stratified\" needs a class for each sample, and "
                "the training set has none; use another strategy"));
  }
  std::optional<train::Handover> handover;
  if (engine->spare() && !engine->left()) {
    auto entered = engine->enter();
    if (!entered.ok()) session->fail(entered.error());
    handover = entered.take();
  }
  loop = std::make_unique<train::Loop>(*session, *engine, job, run_dir, callbacks, std::move(table),
                                       std::move(samples));
  session->may_leave(!session->alone() && !engine->spare());
  Status status;
  if (handover) {
    status = loop->enter(*handover);
  } else if (resumed) {
    status = loop->resume(*resumed);
  }
  if (!status.ok()) session->fail(status.error());
}

void Run::Impl::finish() {
  if (reported || engine == nullptr) return;
  reported = true;
  if (loop) loop->finish();
  if (before_report) before_report();
  session->may_leave(false);
  // Each has the whole report, so that none is lost with its agent.
  std::string_view leads;
  if (!engine->spare()) {
    const auto all = engine->gather([&]() -> Result<std::vector<std::byte>> {
      if (!engine->lead()) return std::vector<std::byte>();
      const std::string whole = train::report(*engine, loop.get(), job, "");
      const auto bytes = std::as_bytes(std::span(whole));
      return std::vector<std::byte>(bytes.begin(), bytes.end());
    });
    if (!all.ok()) session->fail(all.error());
    leads = {reinterpret_cast<const char*>(all->front().data()), all->front().size()};
  }
  session->done(train::report(*engine, loop.get(), job, leads));
}

Rounds Run::rounds(const Dataset& train) {
  return rounds(train, data::first_samples(train.size()));
}

Rounds Run::rounds(const Dataset& train, std::vector<std::uint64_t> samples) {
  impl_->start_loop(std::make_shared<data::Table>(train.table()), std::move(samples));
  return Rounds(this);
}

Evaluation Run::evaluate(const Dataset& dataset, const std::function<Score(const Batch&)>& score) {
  return evaluate(dataset, data::first_samples(dataset.size()), score);
}

Evaluation Run::evaluate(const Dataset& dataset, const std::vector<std::uint64_t>& samples,
                         const std::function<Score(const Batch&)>& score) {
  auto result = guarded(
      *impl_->session,
      [&] {
        const WithAverage average(*impl_);
        return train::evaluate(impl_->engine.get(), dataset.table(), samples,
                               static_cast<std::uint64_t>(impl_->job.eval_batch), score);
      },
      [] { return "the evaluation failed"; });
  if (!result.ok()) impl_->session->fail(result.error());
  return *result;
}

Metrics Run::Impl::measure(const data::Table& table, const std::vector<std::uint64_t>& samples,
                           const train::MetricSpec& spec, const train::Forward& forward,
                           const LossFunction& loss) {
  auto result = guarded(
      *session,
      [&] {
        const WithAverage average(*this);
        return train::measure(engine.get(), table, samples,
                              static_cast<std::uint64_t>(job.eval_batch), spec, forward, loss);
      },
      [] { return "the evaluation failed"; });
  if (!result.ok()) session->fail(result.error());
  return result.take();
}

Metrics Run::evaluate(const Dataset& dataset,
                      const std::function<at::Tensor(const Batch&)>& forward, const Loss& loss,
                      const std::vector<std::string>& metrics) {
  return evaluate(dataset, data::first_samples(dataset.size()), forward, loss, metrics);
}

Metrics Run::evaluate(const Dataset& dataset, const std::vector<std::uint64_t>& samples,
                      const std::function<at::Tensor(const Batch&)>& forward, const Loss& loss,
                      const std::vector<std::string>& metrics) {
  auto spec = train::metric_spec(loss, metrics, impl_->job.top_k);
  if (!spec.ok()) impl_->session->fail(spec.error());
  return impl_->measure(dataset.table(), samples, *spec, forward,
                        loss.measure ? loss.measure : loss.train);
}

void Run::on_round(std::function<void(const RoundInfo&)> call) {
  impl_->callbacks.round.push_back(
      guarded_callback<const RoundInfo&>(*impl_, "on_round", std::move(call)));
}
void Run::on_epoch(std::function<void(EpochInfo&)> call) {
  impl_->callbacks.epoch.push_back(
      guarded_callback<EpochInfo&>(*impl_, "on_epoch", std::move(call)));
}
void Run::on_event(std::function<void(const EventInfo&)> call) {
  impl_->callbacks.event.push_back(
      guarded_callback<const EventInfo&>(*impl_, "on_event", std::move(call)));
}
void Run::on_checkpoint(std::function<void(const CheckpointInfo&)> call) {
  impl_->callbacks.checkpoint.push_back(
      guarded_callback<const CheckpointInfo&>(*impl_, "on_checkpoint", std::move(call)));
}

std::uint64_t Round::number() const { return run_->impl_->engine->round(); }
std::uint64_t Round::data_epoch() const { return run_->impl_->loop->data_epoch(); }

double Round::step(const std::function<at::Tensor(const Batch&)>& loss) {
  Run::Impl& run = *run_->impl_;
  if (run.handed_out != number()) {
    run.session->fail(
        invalid("step() was called twice for one round; the loop over rounds() calls "
                "it once for each"));
  }
  return guarded(
      *run.session, [&] { return run.loop->step(loss); },
      [this] { return cat("the loss could not be computed in round ", number()); });
}

Round& Rounds::Iterator::operator*() const { return run_->round_; }

bool Rounds::Iterator::operator!=(const Iterator& /*end*/) const {
  Run::Impl& run = *run_->impl_;
  if (run.loop->more()) {
    if (run.handed_out == run.engine->round()) {
      run.session->fail(invalid(cat("round ", *run.handed_out,
                                    " was handed out and step() was not called; the loop over "
                                    "rounds() calls it once for each")));
    }
    run.handed_out = run.engine->round();
    return true;
  }
  run.loop->finish();
  return false;
}

}  // namespace instep
