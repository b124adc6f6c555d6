// What checkpoints look like on disk: their folders, and the checks of one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/checkpoint.h"

namespace instep::store {

inline constexpr std::string_view kManifestName = "manifest.json";
inline constexpr std::string_view kCheckpointsName = "checkpoints";

// Whether it may name a file inside a checkpoint: no path, not the manifest, nothing that a
// terminal would act upon.
bool is_file_name(std::string_view name);

struct Folder {
  std::uint64_t round = 0;
  bool finished = false;  // has a manifest
  std::filesystem::path path;
};
// Newest first. Empty if the run has no checkpoints yet; kNotFound if there is no run_dir.
Result<std::vector<Folder>> list_folders(const std::filesystem::path& run_dir);

bool has_manifest(const std::filesystem::path& folder);
Result<Manifest> read_manifest(const std::filesystem::path& folder);

// Whether each file is there with its size; cheap. kCorrupt names the file.
Status check_sizes(const std::filesystem::path& folder, const Manifest& manifest);
// Whether each file has its SHA-256; reads all of them.
Status check_content(const std::filesystem::path& folder, const Manifest& manifest);

// Size and SHA-256 of a file as it lies there, read in pieces.
Result<Manifest::File> digest_file(const std::filesystem::path& folder, const std::string& name);

// The manifest goes first, so that what a crash leaves is an unfinished folder and no damaged one.
// Files that a late writer creates meanwhile are removed too.
Status remove_folder(const std::filesystem::path& folder);

}  // namespace instep::store
