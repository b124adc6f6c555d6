#include "store/test_checkpoint.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/text.h"

namespace instep::store {
namespace {

Status write_part(const std::filesystem::path& folder, std::uint64_t round, std::size_t first,
                  std::size_t step) {
  const SafetensorsLayout layout = test_layout();
  for (std::size_t f = 0; f < kTestFiles.size(); ++f) {
    INSTEP_ASSIGN_OR_RETURN(CheckpointFile file,
                            CheckpointFile::open(folder, kTestFiles[f], layout.file_bytes()));
    if (first == 0) {
      INSTEP_RETURN_IF_ERROR(file.write(0, std::as_bytes(std::span(layout.header()))));
    }
    for (std::size_t t = first; t < layout.tensors().size(); t += step) {
      const TensorInfo& tensor = layout.tensors()[t];
      const std::vector<std::byte> bytes(tensor.bytes, test_byte(round, f, t));
      INSTEP_RETURN_IF_ERROR(file.write(tensor.offset, bytes));
    }
    INSTEP_RETURN_IF_ERROR(file.sync());
  }
  return {};
}

[[noreturn]] void act(const std::string& order) {
  std::istringstream words(order);
  std::string what, path;
  std::size_t first = 0, step = 1;
  words >> what >> path >> first >> step;
  Status status;
  if (what == "part") {
    status = write_part(path, 2, first, step);
  } else {
    status = save_test_checkpoint(path, 2);
    if (status.ok()) status = prune(path, 1, 0, "loss", true);
    if (!status.ok()) std::ofstream(path + "/error.txt") << status.error().message << std::flush;
  }
  ::_exit(status.ok() ? 0 : kErrorCode + static_cast<int>(status.error().kind));
}

// Comes before the first test, so a process with orders runs none.
class Orders : public ::testing::Environment {
 public:
  void SetUp() override {
    if (const char* order = std::getenv("INSTEP_STORE_TEST")) act(order);
  }
};
const auto* const kOrders = ::testing::AddGlobalTestEnvironment(new Orders);

pid_t start_self(const std::map<std::string, std::string>& environment) {
  std::vector<std::string> lines;
  for (char** line = environ; *line != nullptr; ++line) lines.emplace_back(*line);
  for (const auto& [name, value] : environment) lines.push_back(name + "=" + value);
  std::vector<char*> pointers;
  for (std::string& line : lines) pointers.push_back(line.data());
  pointers.push_back(nullptr);
  std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  char* const arguments[] = {self.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  EXPECT_EQ(::posix_spawn(&child, self.c_str(), &actions, nullptr, arguments, pointers.data()), 0);
  posix_spawn_file_actions_destroy(&actions);
  return child;
}

}  // namespace

SafetensorsLayout test_layout() {
  return SafetensorsLayout({{.name = "weight", .dtype = "F32", .shape = {3, 4}},
                            {.name = "bias", .dtype = "F32", .shape = {3}},
                            {.name = "batches", .dtype = "I64", .shape = {}},
                            {.name = "random", .dtype = "U8", .shape = {21}}},
                           {{"format", "pt"}});
}

std::byte test_byte(std::uint64_t round, std::size_t file, std::size_t tensor) {
  return static_cast<std::byte>(16 * round + 8 * file + tensor + 1);
}

Manifest test_manifest(std::uint64_t round, double loss) {
  Manifest manifest;
  manifest.round = round;
  manifest.data_epoch = double(round) / 7;
  manifest.job_json = R"({"model":"mlp","name":"größer\n"})";
  manifest.job_hash = "job";
  manifest.model = "mlp 784-64-10";
  manifest.parameters_sha256 = "parameters";
  manifest.state_sha256 = "state";
  manifest.metrics["loss"] = loss;
  return manifest;
}

Status save_test_checkpoint(const std::filesystem::path& run, std::uint64_t round, double loss) {
  INSTEP_ASSIGN_OR_RETURN(const bool needed, begin_checkpoint(run, round));
  if (!needed) return {};
  const std::filesystem::path folder = checkpoint_folder(run, round);
  INSTEP_RETURN_IF_ERROR(write_part(folder, round, 0, 1));
  return commit(folder, test_manifest(round, loss), kTestFiles);
}

std::string check_test_checkpoint(const Found& found, std::uint64_t round) {
  if (found.manifest.round != round) return cat("round ", found.manifest.round, ", not ", round);
  const SafetensorsLayout layout = test_layout();
  for (std::size_t f = 0; f < kTestFiles.size(); ++f) {
    const Result<SafetensorsFile> file = SafetensorsFile::open(found.folder / kTestFiles[f]);
    if (!file.ok()) return file.error().message;
    for (std::size_t t = 0; t < layout.tensors().size(); ++t) {
      const TensorInfo* tensor = file->find(layout.tensors()[t].name);
      if (tensor == nullptr) return cat("no tensor ", layout.tensors()[t].name);
      const std::span<const std::byte> bytes = file->bytes(*tensor);
      if (!std::all_of(bytes.begin(), bytes.end(),
                       [&](std::byte byte) { return byte == test_byte(round, f, t); })) {
        return cat("other bytes in ", tensor->name);
      }
    }
  }
  return "";
}

std::vector<Ended> run_selves(const std::vector<std::map<std::string, std::string>>& environments) {
  std::vector<pid_t> children;
  for (const auto& environment : environments) children.push_back(start_self(environment));
  std::vector<Ended> ended;
  for (const pid_t child : children) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    ended.push_back({.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
                     .code = WIFEXITED(status) ? WEXITSTATUS(status) : -1});
  }
  return ended;
}

}  // namespace instep::store
