// Checkpoints: a folder RUN/checkpoints/round-NNNNNNNNNN with safetensors files and manifest.json.
// The manifest is renamed into place last, after everything it names is on disk, so a folder with a
// manifest is whole; what a crash leaves behind has none and is ignored and cleaned. The manifest
// holds SHA-256 and size of each file, so a flipped bit is found before it is used.
// docs/checkpoint.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace instep::store {

inline constexpr std::int64_t kCheckpointFormat = 1;
// A parameter's moving average in state.safetensors: "NAME.ema".
inline constexpr const char* kAverageSuffix = "ema";

struct Manifest {
  std::int64_t format = kCheckpointFormat;
  std::uint64_t round = 0;  // rounds done
  double data_epoch = 0;    // epochs of data done
  std::string job_json, job_hash, model;
  std::string parameters_sha256, state_sha256;
  std::map<std::string, double> metrics;  // newest of the run, e.g. {"validation_loss": …}
  struct File {
    std::string name, sha256;
    std::uint64_t bytes = 0;
  };
  std::vector<File> files;
};
// The text of manifest.json. Its last field is the SHA-256 of all before it, so that a flipped bit
// in the manifest is found as surely as one in a file that it names.
std::string to_json(const Manifest& manifest);
// kCorrupt: no JSON, a field missing or wrong, the checksum off; kMismatch: another format version.
Result<Manifest> manifest_from_json(std::string_view text, const std::filesystem::path& where);

// RUN/checkpoints/round-NNNNNNNNNN.
std::filesystem::path checkpoint_folder(const std::filesystem::path& run_dir, std::uint64_t round);

// Called by one process before any writer opens a file of this round: removes what a crash left
// unfinished, of any round, and a damaged checkpoint of this one. False if a whole checkpoint of
// this round is there already, which is never written over. kMismatch: one of another format is.
Result<bool> begin_checkpoint(const std::filesystem::path& run_dir, std::uint64_t round);

// When no writer is left: gives the disk space of what none of them has finished back.
Status remove_unfinished(const std::filesystem::path& run_dir);

// One file of a checkpoint under way. Several processes may open the same one, with the same
// `bytes`, and write their parts; a process uses it from one thread at a time.
class CheckpointFile {
 public:
  // Creates it (and its folder) if need be; takes the disk space of all of it, so that a full disk
  // shows at once: kNoSpace says how much is needed and how much is free. kTaken if the folder
  // holds a finished checkpoint. Failpoint: file.allocate. Ignore SIGXFSZ, or a file-size limit
  // kills.
  static Result<CheckpointFile> open(const std::filesystem::path& folder, const std::string& name,
                                     std::uint64_t bytes);
  Status write(std::uint64_t offset, std::span<const std::byte> bytes);
  Status sync();

 private:
  Error explained(Error error) const;

  Fd fd_;
  std::filesystem::path path_;
  std::uint64_t bytes_ = 0;
};

// Called by one process when all writers have synced: hashes the files as they lie there, fills
// manifest.files and commits. After an error nothing has become a checkpoint, unless only the last
// sync of the folder failed. Failpoints: checkpoint.before_manifest, checkpoint.after_manifest.
Status commit(const std::filesystem::path& folder, Manifest manifest,
              const std::vector<std::string>& files);

struct Found {
  std::filesystem::path folder;
  Manifest manifest;
  std::vector<std::string> warnings;  // "round-0000000120 is damaged (…); using round-…0100"
};
// Reads and verifies one checkpoint folder, or a run directory's newest whole one. Reads every
// byte.
Result<Found> open_checkpoint(const std::filesystem::path& path);
// The newest whole checkpoint of a run; damaged, unfinished and other-format ones are passed over
// with a warning. kNotFound if the run has no finished checkpoint; if it has some and none is
// whole, the error is that of the newest (kCorrupt, kMismatch, …), so that nobody takes it for a
// fresh run.
Result<Found> newest_checkpoint(const std::filesystem::path& run_dir);

// Removes folders without a manifest that are older than the newest whole one (a newer one may be
// under way), and whole ones beyond the newest `keep_last` and the best `keep_best` by `metric`
// (smaller is better if `lower_is_better`; one that lacks it or has NaN is never best). Never the
// newest whole one, nor damaged or other-format ones. Whole here means: the manifest is, and the
// files have its sizes. Failpoint: checkpoint.remove.
Status prune(const std::filesystem::path& run_dir, std::int64_t keep_last, std::int64_t keep_best,
             const std::string& metric, bool lower_is_better);

}  // namespace instep::store
