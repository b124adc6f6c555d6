// The reading side of checkpoints: find, verify; and pruning, which must agree on what is whole.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "base/text.h"
#include "store/checkpoint.h"
#include "store/folder.h"

namespace instep::store {
namespace {

enum class Depth { kSizes, kContent };

Result<Manifest> verify(const std::filesystem::path& folder, Depth depth) {
  INSTEP_ASSIGN_OR_RETURN(Manifest manifest, read_manifest(folder));
  INSTEP_RETURN_IF_ERROR(check_sizes(folder, manifest));
  if (depth == Depth::kContent) INSTEP_RETURN_IF_ERROR(check_content(folder, manifest));
  return manifest;
}

// A folder among others is also held to its name, by which it is chosen.
Result<Manifest> verify(const Folder& folder, Depth depth) {
  INSTEP_ASSIGN_OR_RETURN(Manifest manifest, verify(folder.path, depth));
  if (manifest.round != folder.round) {
    return Error{ErrorKind::kCorrupt, cat((folder.path / kManifestName).string(), " is of round ",
                                          manifest.round, ", not of its folder's")};
  }
  return manifest;
}

std::string name_of(const Folder& folder) { return folder.path.filename().string(); }

struct Candidate {
  Folder folder;
  Manifest manifest;
};

std::vector<Candidate> best(std::vector<Candidate> candidates, const std::string& metric,
                            bool lower_is_better) {
  std::erase_if(candidates, [&metric](const Candidate& candidate) {
    const auto at = candidate.manifest.metrics.find(metric);
    return at == candidate.manifest.metrics.end() || std::isnan(at->second);
  });
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const Candidate& a, const Candidate& b) {
                     const double x = a.manifest.metrics.at(metric);
                     const double y = b.manifest.metrics.at(metric);
                     return lower_is_better ? x < y : x > y;
                   });
  return candidates;
}

}  // namespace

Result<Found> open_checkpoint(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    return Error{ErrorKind::kNotFound, cat("there is no checkpoint or run ", path.string())};
  }
  if (!std::filesystem::is_directory(path, ignored)) {
    return invalid(
        cat(path.string(), " is a file; name the folder of the checkpoint or of the run"));
  }
  if (has_manifest(path)) {
    INSTEP_ASSIGN_OR_RETURN(Manifest manifest, verify(path, Depth::kContent));
    return Found{.folder = path, .manifest = std::move(manifest), .warnings = {}};
  }
  if (std::filesystem::is_directory(path / kCheckpointsName, ignored)) {
    return newest_checkpoint(path);
  }
  return Error{ErrorKind::kNotFound,
               cat(path.string(), " is neither a run nor a finished checkpoint: it has no ",
                   kManifestName, " and no folder ", kCheckpointsName)};
}

Result<Found> newest_checkpoint(const std::filesystem::path& run_dir) {
  INSTEP_ASSIGN_OR_RETURN(const std::vector<Folder> folders, list_folders(run_dir));
  std::vector<std::string> passed;
  Status newest_error;
  for (const Folder& folder : folders) {
    if (!folder.finished) {
      passed.push_back(cat(name_of(folder), " was never finished"));
      continue;
    }
    Result<Manifest> manifest = verify(folder, Depth::kContent);
    if (manifest.ok()) {
      for (std::string& warning : passed) warning += "; using " + name_of(folder);
      return Found{
          .folder = folder.path, .manifest = manifest.take(), .warnings = std::move(passed)};
    }
    const Error& error = manifest.error();
    passed.push_back(
        cat(name_of(folder),
            error.kind == ErrorKind::kMismatch ? " is of another format (" : " is damaged (",
            error.message, ")"));
    if (newest_error.ok()) newest_error = error;
  }
  const std::string list = passed.empty() ? "" : ": " + join(passed, "; ");
  if (!newest_error.ok()) {
    return Error{newest_error.error().kind,
                 cat("no checkpoint of ", run_dir.string(), " is whole", list)};
  }
  return Error{ErrorKind::kNotFound, cat(run_dir.string(), " has no finished checkpoint", list)};
}

Status prune(const std::filesystem::path& run_dir, std::int64_t keep_last, std::int64_t keep_best,
             const std::string& metric, bool lower_is_better) {
  INSTEP_ASSIGN_OR_RETURN(const std::vector<Folder> folders, list_folders(run_dir));
  std::vector<Candidate> whole;
  for (const Folder& folder : folders) {
    if (!folder.finished) {
      if (!whole.empty()) INSTEP_RETURN_IF_ERROR(remove_folder(folder.path));
      continue;
    }
    Result<Manifest> manifest = verify(folder, Depth::kSizes);
    if (manifest.ok()) whole.push_back({folder, manifest.take()});
  }
  std::set<std::uint64_t> kept;
  const auto keep = [&kept](const std::vector<Candidate>& from, std::int64_t most) {
    for (const Candidate& candidate : from) {
      if (most-- <= 0) break;
      kept.insert(candidate.folder.round);
    }
  };
  keep(whole, std::max<std::int64_t>(1, keep_last));
  keep(best(whole, metric, lower_is_better), keep_best);
  for (const Candidate& candidate : whole) {
    if (!kept.contains(candidate.folder.round)) {
      INSTEP_RETURN_IF_ERROR(remove_folder(candidate.folder.path));
    }
  }
  return {};
}

}  // namespace instep::store
