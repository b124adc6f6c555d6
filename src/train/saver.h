// Checkpoints while training goes on: at a round's boundary every owner copies its slices aside
// (that copy is all that training waits for), then a thread of each agent writes them to their
// places in common files, and the lead's commits when everybody has synced. A checkpoint that fails
// is told and changes nothing: the last whole one stays.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "store/checkpoint.h"
#include "store/safetensors.h"
#include "train/engine.h"
#include "train/ledger.h"

namespace instep::train {

// What only the lead knows or writes.
struct SaveNotes {
  double data_epoch = 0;
  std::map<std::string, double> metrics;  // measured with these very parameters; may be empty
  std::string best_by;                    // the metric that tells the best checkpoints
  std::string progress;                   // the loop's own state as JSON, for who resumes
};

struct Saved {
  bool whole = false;
  std::uint64_t round = 0;
  std::filesystem::path folder;
  std::uint64_t bytes = 0;
  double seconds = 0;
  std::string problem;  // why it is not whole
  bool bereft = false;  // because an agent that had a part of it is gone
};

class Saver {
 public:
  // `told` is called on the lead, from the saving thread, when a checkpoint is whole or has failed.
  Saver(Session& session, Engine& engine, const job::Job& job, std::filesystem::path run_dir,
        std::function<void(const Saved&)> told);
  ~Saver();

  // All members call it at the same boundary; `ledger` is of the epoch under way, and `samples` the
  // number in the training set. Waits for the one before to be written. False if this round has a
  // whole checkpoint already.
  Result<bool> save(const Ledger& ledger, std::uint64_t samples, const SaveNotes& notes);
  // Waits until everything asked for is written; on the lead, committed too.
  void wait();
  const Saved& newest() const { return newest_; }  // after wait(), on who was the lead then

 private:
  struct Piece {
    std::size_t file = 0;  // 0 model, 1 state
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;
  };
  struct Work {
    std::uint64_t round = 0;
    bool lead = false;  // this agent commits it
    std::filesystem::path folder;
    std::vector<store::SafetensorsLayout> files;
    std::vector<Piece> pieces;
    store::Manifest manifest;
    struct Writer {
      member::AgentId agent = 0;
      std::uint32_t since = 0;  // the view that it became a member with
    };
    std::vector<Writer> writers;
    std::uint64_t updates = 0;
    std::string best_by;
  };

  Work snapshot(const Ledger& ledger, std::uint64_t samples, const SaveNotes& notes) const;
  void copy_slices(const std::vector<store::TensorBytes>& tensors, std::size_t count,
                   std::size_t file, Work& work) const;
  void loop();
  static Status write(const Work& work);
  Status finish(Work& work, bool& bereft);
  Status await_writers(const Work& work, bool& bereft);

  Session& session_;
  Engine& engine_;
  const job::Job job_;
  const std::filesystem::path run_dir_;
  const std::function<void(const Saved&)> told_;
  Saved newest_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Work> queue_;             // guarded by mutex_: at most one
  bool busy_ = false, ending_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace instep::train
