#include "train/saver.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <optional>

#include "base/failpoint.h"
#include "base/text.h"
#include "fabric/wait.h"
#include "store/safetensors.h"

namespace instep::train {
namespace {

constexpr int kNiceness = 10;
const std::vector<std::string> kFiles = {"model.safetensors", "state.safetensors"};

std::vector<store::TensorInfo> infos(const std::vector<store::TensorBytes>& tensors) {
  std::vector<store::TensorInfo> out;
  for (const store::TensorBytes& tensor : tensors) {
    store::TensorInfo info;
    info.name = tensor.name;
    info.dtype = tensor.dtype;
    info.shape = tensor.shape;
    info.bytes = tensor.bytes.size();
    out.push_back(std::move(info));
  }
  return out;
}

std::vector<std::byte> copy_of(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

Result<std::string> digest_of(const std::filesystem::path& path) {
  INSTEP_ASSIGN_OR_RETURN(const store::SafetensorsFile file, store::SafetensorsFile::open(path));
  std::vector<store::TensorBytes> tensors;
  for (const store::TensorInfo& info : file.tensors()) {
    if (info.name != kLedgerName) {
      tensors.push_back({info.name, info.dtype, info.shape, file.bytes(info)});
    }
  }
  return store::digest(std::move(tensors));
}

}  // namespace

Saver::Saver(Session& session, Engine& engine, const job::Job& job, std::filesystem::path run_dir,
             std::function<void(const Saved&)> told)
    : session_(session),
      engine_(engine),
      job_(job),
      run_dir_(std::move(run_dir)),
      told_(std::move(told)),
      thread_([this] { loop(); }) {}

Saver::~Saver() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<bool> Saver::save(const Ledger& ledger, std::uint64_t samples, const SaveNotes& notes) {
  wait();
  // The lead clears the place before anybody opens a file there, which the gather makes sure of.
  std::string problem;
  INSTEP_ASSIGN_OR_RETURN(const auto all, engine_.gather([&]() -> Result<std::vector<std::byte>> {
    std::vector<std::byte> mine(1, std::byte{1});
    if (!engine_.lead()) return mine;
    const Engine::Outside slow(engine_);  // as disks may be
    const auto begun = store::begin_checkpoint(run_dir_, engine_.round());
    failpoint("save.begun");
    mine[0] = begun.ok() && *begun ? std::byte{1} : std::byte{0};
    problem = begun.ok() ? "" : begun.error().message;
    return mine;
  }));
  if (all.front().empty() || all.front()[0] == std::byte{0}) {
    if (!problem.empty()) {
      newest_ = {false, engine_.round(), {}, 0, 0, problem, false};
      told_(newest_);
    }
    return false;
  }
  failpoint("save.agreed");
  Work work = snapshot(ledger, samples, notes);
  // Nobody goes on before all have copied: of one that leaves here another owns the slices next,
  // and would step them under its hands.
  INSTEP_ASSIGN_OR_RETURN(const auto copied, engine_.gather([]() -> Result<std::vector<std::byte>> {
    return std::vector<std::byte>();
  }));
  (void)copied;
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
    busy_ = true;
  }
  changed_.notify_all();
  failpoint("save.queued");
  return true;
}

void Saver::wait() {
  constexpr std::chrono::milliseconds kBeat{20};
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kBeat, [this] { return !busy_; })) engine_.beat();
}

Saver::Work Saver::snapshot(const Ledger& ledger, std::uint64_t samples,
                            const SaveNotes& notes) const {
  Work work;
  work.lead = engine_.lead();
  work.round = engine_.round();
  work.updates = engine_.updates();
  work.folder = store::checkpoint_folder(run_dir_, work.round);
  for (const member::AgentId agent : engine_.participants()) {
    work.writers.push_back({agent, engine_.member_since(agent)});
  }

  const std::vector<store::TensorBytes> parameters = engine_.parameters();
  std::vector<store::TensorBytes> state = engine_.optimizer_state();
  const auto rows = std::as_bytes(ledger.rows());
  state.push_back({kLedgerName, "U8", {static_cast<std::int64_t>(rows.size())}, rows});
  std::map<std::string, std::string> place = {{"rounds", std::to_string(work.round)},
                                              {"progress", notes.progress},
                                              {"samples", std::to_string(samples)}};
  if (!engine_.replicas_step()) place["updates"] = std::to_string(work.updates);
  work.files.emplace_back(infos(parameters), std::map<std::string, std::string>{{"format", "pt"}});
  work.files.emplace_back(infos(state), place);

  const std::size_t trained = engine_.binding().parameters.size();
  if (!engine_.replicas_step()) {
    copy_slices(parameters, trained, 0, work);
    copy_slices(state, state.size() - 1, 1, work);
  }
  if (!work.lead) return work;
  for (std::size_t file = 0; file < work.files.size(); ++file) {
    work.pieces.push_back({file, 0, copy_of(std::as_bytes(std::span(work.files[file].header())))});
  }
  // What no slice holds: frozen parameters and buffers (or everything, where replicas step).
  for (std::size_t i = engine_.replicas_step() ? 0 : trained; i < parameters.size(); ++i) {
    work.pieces.push_back({0, work.files[0].tensors()[i].offset, copy_of(parameters[i].bytes)});
  }
  work.pieces.push_back({1, work.files[1].tensors().back().offset, copy_of(state.back().bytes)});
  work.manifest.round = work.round;
  work.manifest.data_epoch = notes.data_epoch;
  work.manifest.job_json = job::to_json(job_);
  work.manifest.job_hash = job::hash(job_);
  work.manifest.model = job_.model.kind.empty() ? "program" : job_.model.kind;
  work.manifest.metrics = notes.metrics;
  work.best_by = notes.best_by;
  return work;
}

// Copies my slices of the first `count` tensors, which repeat the trained parameters' places in
// order.
void Saver::copy_slices(const std::vector<store::TensorBytes>& tensors, std::size_t count,
                        std::size_t file, Work& work) const {
  const reduce::FlatSpace& space = engine_.binding().space;
  const std::vector<reduce::Piece> mine = reduce::pieces_of(space, engine_.my_ranges());
  const std::size_t parameters = engine_.binding().parameters.size();
  for (std::size_t first = 0; first < count; first += parameters) {
    for (const reduce::Piece& piece : mine) {
      if (piece.tensor == parameters) continue;  // carried buffers are the lead's to save
      const std::size_t i = first + piece.tensor;
      const std::uint64_t at = piece.within * sizeof(float);
      work.pieces.push_back({file, work.files[file].tensors()[i].offset + at,
                             copy_of(tensors[i].bytes.subspan(at, piece.count * sizeof(float)))});
    }
  }
}

void Saver::loop() {
  // Beside a training thread on the same processor, hashing and writing take what is left over.
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNiceness);
  while (true) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ending_ || !queue_.empty(); });
    if (queue_.empty()) return;
    Work work = std::move(queue_.back());
    queue_.pop_back();
    lock.unlock();

    const auto begin = std::chrono::steady_clock::now();
    failpoint("save.writing");
    Status status = write(work);
    failpoint("save.written");
    std::atomic<std::uint64_t>& word = session_.words().saved;
    fabric::publish(word, (work.round + 1) | (status.ok() ? 0 : fabric::kSaveFailed));
    fabric::wake(word);
    failpoint("save.said");
    if (work.lead) {
      Saved saved;
      if (const Status finished = finish(work, saved.bereft); status.ok()) status = finished;
      saved.whole = status.ok();
      saved.round = work.round;
      saved.folder = work.folder;
      for (const auto& file : work.files) saved.bytes += file.file_bytes();
      saved.seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (!status.ok()) saved.problem = status.error().message;
      newest_ = saved;
      told_(saved);
    }
    lock.lock();
    busy_ = false;
    lock.unlock();
    changed_.notify_all();
  }
}

Status Saver::write(const Work& work) {
  for (std::size_t i = 0; i < work.files.size(); ++i) {
    INSTEP_ASSIGN_OR_RETURN(
        store::CheckpointFile file,
        store::CheckpointFile::open(work.folder, kFiles[i], work.files[i].file_bytes()));
    for (const Piece& piece : work.pieces) {
      if (piece.file == i) INSTEP_RETURN_IF_ERROR(file.write(piece.offset, piece.bytes));
    }
    INSTEP_RETURN_IF_ERROR(file.sync());
  }
  return {};
}

// All of them, whoever has failed: the next checkpoint clears what this one leaves, and nobody may
// write there any more. One that is gone writes nothing.
Status Saver::await_writers(const Work& work, bool& bereft) {
  std::atomic<std::uint32_t> nobody_looks = 0;
  Status status;
  for (const Work::Writer& writer : work.writers) {
    const std::atomic<std::uint64_t>& word = session_.words_of(writer.agent).saved;
    const auto written = [&] {
      return (word.load(std::memory_order_acquire) & ~fabric::kSaveFailed) >= work.round + 1;
    };
    // Who trains may wait for this thread, and takes no view up meanwhile.
    const auto gone = [&] {
      return engine_.member_since(writer.agent) != writer.since ||
             session_.seat().goes(writer.agent);
    };
    while (!written() && !gone()) {
      fabric::wait_at_least(word, work.round + 1, nobody_looks, {0, 20});
    }
    if (!written() || gone()) {
      bereft = true;
      status = Error{ErrorKind::kUnavailable,
                     cat("agent ", writer.agent, " is gone, which had a part of it to write")};
    } else if ((word.load(std::memory_order_acquire) & fabric::kSaveFailed) != 0 && status.ok()) {
      status = Error{ErrorKind::kNoSpace, cat("agent ", writer.agent, " could not write its part")};
    }
  }
  return status;
}

// On the lead: when all have written, hashes and commits.
Status Saver::finish(Work& work, bool& bereft) {
  failpoint("save.wait");
  INSTEP_RETURN_IF_ERROR(await_writers(work, bereft));
  failpoint("save.all_written");
  INSTEP_ASSIGN_OR_RETURN(work.manifest.parameters_sha256, digest_of(work.folder / kFiles[0]));
  INSTEP_ASSIGN_OR_RETURN(const std::string optimizer, digest_of(work.folder / kFiles[1]));
  work.manifest.state_sha256 = store::state_digest(work.manifest.parameters_sha256, optimizer,
                                                   work.round, work.updates, job_.seed);
  failpoint("save.hashed");
  INSTEP_RETURN_IF_ERROR(store::commit(work.folder, work.manifest, kFiles));
  failpoint("save.committed");
  return store::prune(run_dir_, job_.checkpoint.keep_last, job_.checkpoint.keep_best, work.best_by,
                      job::falls(job_.stop.metric));
}

}  // namespace instep::train
