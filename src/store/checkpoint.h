// Checkpoints: a folder RUN/checkpoints/round-NNNNNNNNNN with safetensors files and manifest.json.
// The manifest is renamed into place last, after everything it names is on disk, so a folder with a
// manifest is whole; what a crash leaves behind has none and is ignored and cleaned. The manifest
// holds SHA-256 and size of each file, so a flipped bit is found before it is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "store/safetensors.h"

namespace instep::store {

inline constexpr std::int64_t kCheckpointFormat = 1;

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
std::string to_json(const Manifest& manifest);
Result<Manifest> manifest_from_json(std::string_view text, const std::filesystem::path& where);

// One file of a checkpoint under way. Several processes may open the same one and write their
// parts.
class CheckpointFile {
 public:
  // Creates it (and its folder) if need be; sizes it, so that a full disk shows at once.
  static Result<CheckpointFile> open(const std::filesystem::path& folder, const std::string& name,
                                     std::uint64_t bytes);
  Status write(std::uint64_t offset, std::span<const std::byte> bytes);
  Status sync();

 private:
  Fd fd_;
  std::filesystem::path path_;
};

std::filesystem::path checkpoint_folder(const std::filesystem::path& run_dir, std::uint64_t round);

// Called by one process when all writers have synced: hashes the files as they lie there, fills
// manifest.files and commits. Failpoints: checkpoint.before_manifest, checkpoint.after_manifest.
Status commit(const std::filesystem::path& folder, Manifest manifest,
              const std::vector<std::string>& files);

struct Found {
  std::filesystem::path folder;
  Manifest manifest;
  std::vector<std::string> warnings;  // "round-0000000120 is damaged (…); using round-…0100"
};
// Reads and verifies one checkpoint folder (or a run directory's newest whole one).
Result<Found> open_checkpoint(const std::filesystem::path& path);
// The newest whole checkpoint of a run; damaged ones are passed over with a warning. kNotFound if
// none.
Result<Found> newest_checkpoint(const std::filesystem::path& run_dir);

// Removes folders without a manifest, and whole ones beyond the newest `keep_last` and the best
// `keep_best` by `metric` (smaller is better if `lower_is_better`). Never the newest whole one.
Status prune(const std::filesystem::path& run_dir, std::int64_t keep_last, std::int64_t keep_best,
             const std::string& metric, bool lower_is_better);

}  // namespace instep::store
