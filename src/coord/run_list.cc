// The list of runs: symbolic links in $XDG_STATE_HOME/instep/runs, named like their directories.
#include <algorithm>
#include <cstdlib>

#include "base/log.h"
#include "base/text.h"
#include "coord/run_dir.h"

namespace instep::coord {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMostEntries = 1000;

// Empty where there is no home either.
fs::path list_folder() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return fs::path(state) / "instep" / "runs";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/') return {};
  return fs::path(home) / ".local" / "state" / "instep" / "runs";
}

struct Entry {
  fs::path link, target;
  fs::file_time_type used;  // of the run: its run.json, or its folder
};

// Newest first; links to nothing are removed, and the oldest beyond kMostEntries.
std::vector<Entry> entries() {
  std::vector<Entry> out;
  std::error_code error;
  const fs::path folder = list_folder();
  if (folder.empty()) return out;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    if (!item.is_symlink(error)) continue;
    const fs::path target = fs::read_symlink(item.path(), error);
    if (error || !fs::exists(target / "run.json", error)) {
      fs::remove(item.path(), error);
      continue;
    }
    out.push_back({item.path(), target, fs::last_write_time(target / "run.json", error)});
  }
  std::sort(out.begin(), out.end(), [](const Entry& a, const Entry& b) {
    return a.used != b.used ? a.used > b.used : a.link < b.link;
  });
  while (out.size() > kMostEntries) {
    fs::remove(out.back().link, error);
    out.pop_back();
  }
  return out;
}

}  // namespace

void RunDir::enlist() const {
  const fs::path folder = list_folder();
  if (folder.empty()) return;
  std::error_code error;
  fs::create_directories(folder, error);
  for (const Entry& entry : entries()) {
    if (entry.target == path_) return;
  }
  const std::string name = path_.filename().string();
  for (std::size_t k = 1; k <= kMostEntries; ++k) {
    error.clear();
    fs::create_symlink(path_, folder / (k == 1 ? name : cat(name, "-", k)), error);
    if (error != std::errc::file_exists) break;
  }
  if (error) log(LogLevel::kInfo, cat("this run is not listed by `instep ls`: ", error.message()));
}

std::vector<fs::path> list_runs() {
  std::vector<fs::path> out;
  for (const Entry& entry : entries()) out.push_back(entry.link);
  return out;
}

Result<fs::path> find_run(const std::string& name) {
  std::error_code error;
  if (fs::is_directory(name, error)) return fs::canonical(name, error);
  std::vector<std::string> names;
  for (const Entry& entry : entries()) {
    names.push_back(entry.link.filename().string());
    if (names.back() == name) return entry.target;
  }
  const std::string near = nearest(name, names);
  return Error{ErrorKind::kNotFound,
               cat("no run '", name, "': neither a folder nor a name that `instep ls` shows",
                   near.empty() ? "" : cat("; did you mean '", near, "'?"))};
}

}  // namespace instep::coord
