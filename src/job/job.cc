#include "job/job.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "job/apply.h"
#include "job/toml_reader.h"

namespace instep::job {
namespace {

constexpr double kByteScale = 1.0 / 255;
constexpr std::size_t kMaxSets = 256;

bool was_given(const std::vector<Given>& given, std::string_view key) {
  return std::any_of(given.begin(), given.end(), [&](const Given& one) { return one.key == key; });
}

// Defaults that depend on other keys.
void derive(const std::vector<Given>& given, const Job& defaults, Job& job) {
  const Job none;
  const bool bytes = job.data.format == DataFormat::kIdx || job.data.format == DataFormat::kCifar;
  if (bytes && !was_given(given, "data.scale") && defaults.data.scale == none.data.scale) {
    job.data.scale = kByteScale;
  }
  const bool classes = job.loss == Loss::kCrossEntropy || job.loss == Loss::kBce;
  const bool text = job.data.format == DataFormat::kText;
  if (!was_given(given, "metrics") && defaults.metrics == none.metrics) {
    if (!classes) job.metrics.clear();
    if (text) job.metrics.emplace_back("perplexity");
  }
  if (job.model.layers.empty() && job.model.kind == "gpt") job.model.layers = {4};
  if (job.model.layers.empty() && job.model.kind == "lstm") job.model.layers = {2};
  if (text && job.data.context == 0) job.data.context = job.model.context;
  if (!classes && !was_given(given, "stop.metric") && defaults.stop.metric == none.stop.metric) {
    job.stop.metric = "loss";
  }
}

// The newest word on any of the fault's keys is the one to point at; else the file as a whole.
std::string place(const Fault& fault, const std::vector<Given>& given, const std::string& name) {
  for (auto one = given.rbegin(); one != given.rend(); ++one) {
    if (std::find(fault.keys.begin(), fault.keys.end(), one->key) != fault.keys.end()) {
      return one->where;
    }
  }
  return name;
}

Status read_sets(const std::vector<std::string>& sets, const std::string& where,
                 std::vector<Entry>& entries) {
  if (sets.empty()) return {};
  if (sets.size() > kMaxSets) {
    return invalid(cat(where, ": found ", sets.size(), " settings; allowed: at most ", kMaxSets));
  }
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::current_path(error);
  for (const std::string& set : sets) {
    INSTEP_ASSIGN_OR_RETURN(const std::vector<Entry> read, read_set(set, where, folder));
    entries.insert(entries.end(), read.begin(), read.end());
  }
  return {};
}

Result<std::filesystem::path> job_file_in(const std::filesystem::path& folder) {
  std::error_code error;
  std::vector<std::string> found;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".toml") found.push_back(it->path().filename().string());
  }
  if (error) return os_error("cannot list", folder, error.value());
  const std::filesystem::path whole = std::filesystem::absolute(folder, error).lexically_normal();
  const std::filesystem::path base = whole.has_filename() ? whole : whole.parent_path();
  const std::string own = cat(base.filename().string(), ".toml");
  if (std::find(found.begin(), found.end(), own) != found.end()) return folder / own;
  if (found.size() == 1) return folder / found[0];
  if (found.empty()) {
    return Error{ErrorKind::kNotFound,
                 cat(folder.string(), ": a folder without a job file (*.toml); name the job file")};
  }
  std::sort(found.begin(), found.end());
  if (found.size() > 8) found.resize(8);
  return invalid(
      cat(folder.string(), ": a folder with several job files; name one: ", join(found, ", ")));
}

// TorchScript carries code, which nothing else of a job tells apart.
Status read_digest(Model& model) {
  std::ifstream file(model.file, std::ios::binary);
  Sha256 digest;
  std::array<char, 1 << 16> buffer{};
  while (file) {
    file.read(buffer.data(), buffer.size());
    digest.update(std::string_view(buffer.data(), static_cast<std::size_t>(file.gcount())));
  }
  std::error_code error;
  if (!file.eof() || !std::filesystem::is_regular_file(model.file, error)) {
    return Error{ErrorKind::kNotFound,
                 cat("model.file: ", model.file, " is not there, or no file that can be read")};
  }
  const std::string found = digest.hex();
  if (!model.file_sha256.empty() && model.file_sha256 != found) {
    return Error{ErrorKind::kMismatch,
                 cat("model.file: ", model.file, " has the SHA-256 ", found,
                     ", and model.file_sha256 names another file; use that file, or change the "
                     "key if you trust this one")};
  }
  model.file_sha256 = found;
  return {};
}

}  // namespace

Result<Resolved> parse(std::string_view text, const std::string& name,
                       const std::filesystem::path& folder, const std::vector<std::string>& sets,
                       const std::vector<std::string>& environment_sets, const Job& defaults) {
  INSTEP_ASSIGN_OR_RETURN(std::vector<Entry> entries, read_toml(text, name, folder));
  INSTEP_RETURN_IF_ERROR(read_sets(environment_sets, "INSTEP_SET", entries));
  INSTEP_RETURN_IF_ERROR(read_sets(sets, "--set", entries));
  Resolved resolved{defaults, {}};
  INSTEP_RETURN_IF_ERROR(apply(entries, resolved.job, resolved.given));
  derive(resolved.given, defaults, resolved.job);
  if (const auto fault = find_fault(resolved.job)) {
    return invalid(
        cat(place(*fault, resolved.given, name), ": ", fault->keys.front(), ": ", fault->message));
  }
  return resolved;
}

Result<Resolved> load_without_files(const std::filesystem::path& path,
                                    const std::vector<std::string>& sets,
                                    const std::vector<std::string>& environment_sets) {
  std::error_code error;
  std::filesystem::path file = path;
  if (std::filesystem::is_directory(path, error)) {
    INSTEP_ASSIGN_OR_RETURN(file, job_file_in(path));
  }
  INSTEP_ASSIGN_OR_RETURN(const std::string text, read_file(file, kMaxJobBytes));
  const std::filesystem::path folder = std::filesystem::absolute(file, error).parent_path();
  return parse(text, file.string(), folder, sets, environment_sets);
}

Result<Resolved> load(const std::filesystem::path& path, const std::vector<std::string>& sets,
                      const std::vector<std::string>& environment_sets) {
  INSTEP_ASSIGN_OR_RETURN(Resolved resolved, load_without_files(path, sets, environment_sets));
  if (!resolved.job.model.file.empty()) {
    INSTEP_RETURN_IF_ERROR(read_digest(resolved.job.model));
  }
  return resolved;
}

std::vector<std::string> split_sets(std::string_view text) {
  std::vector<std::string> sets;
  std::string set;
  char quote = 0;
  int depth = 0;
  const auto finish = [&] {
    if (set.find_first_not_of(" \t\r\n") != std::string::npos) sets.push_back(set);
    set.clear();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == 0 && depth <= 0 && c == ';') {
      finish();
      continue;
    }
    set += c;
    if (quote == '"' && c == '\\' && i + 1 < text.size()) {
      set += text[++i];
    } else if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else {
      depth += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
    }
  }
  finish();
  return sets;
}

}  // namespace instep::job
