#include "train/environment.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <torch/version.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/version.h"
#include "model/torchscript.h"

namespace instep::train {
namespace {

constexpr std::int64_t kMaxThreads = 1024;

// MKL reads it at its first call; a launched agent has it from the launcher already. The same bits
// whatever the addresses, by the best instructions that the processor has.
[[maybe_unused]] const int kMklBranch = ::setenv("MKL_CBWR", "AUTO", 0);

// libtorch's generator begins with a seed of chance. A program that makes its model before its Run
// (which a Trainer may make) has the same first weights on every agent all the same.
constexpr std::uint64_t kFirstSeed = 1;
[[maybe_unused]] const bool kSeeded = [] {
  at::Generator generator = at::detail::getDefaultCPUGenerator();  // a handle of the one
  generator.set_current_seed(kFirstSeed);
  return true;
}();

// A variable's number; 0 if it is none.
std::int64_t number_of(const std::string& text) { return std::strtoll(text.c_str(), nullptr, 10); }

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A product with odd sizes, exponentials and sums: what goes differently on another processor or
// library shows here first. The numbers are made without libtorch, whose start is long enough.
std::string probe() {
  std::vector<float> a(33 * 65), b(65 * 17);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i * 37 % 101) / 101 - 0.5F;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i * 11 % 97) / 97 - 0.5F;
  const at::Tensor out = at::from_blob(a.data(), {33, 65}, at::kFloat)
                             .mm(at::from_blob(b.data(), {65, 17}, at::kFloat))
                             .tanh()
                             .softmax(1)
                             .contiguous();
  return cat(std::hex, xxh3({static_cast<const std::byte*>(out.const_data_ptr()), out.nbytes()}));
}

// Which program this is: programs of another build may compute otherwise.
std::string program() {
  constexpr std::uint64_t kLargest = 1U << 30;
  const Result<std::string> bytes = read_file("/proc/self/exe", kLargest);
  if (!bytes.ok()) return "unknown";
  return cat(std::hex, xxh3(std::as_bytes(std::span(*bytes))));
}

// Of the libtorch that is loaded.
struct Libtorch {
  std::string version = TORCH_VERSION, build;
};

Libtorch libtorch() {
  const std::string text = at::show_config();
  Libtorch out;
  std::string kept;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    // That is of the processor.
    if (line.find("CPU capability") == std::string::npos) kept += line;
    at = end + 1;
  }
  out.build = cat(std::hex, xxh3(std::as_bytes(std::span(kept))));
  constexpr std::string_view kKey = "TORCH_VERSION=";
  if (const std::size_t at = text.find(kKey); at != std::string::npos) {
    const std::size_t begin = at + kKey.size();
    out.version = text.substr(begin, text.find_first_of(", \n", begin) - begin);
  }
  return out;
}

}  // namespace

void set_threads_early() {
  const std::int64_t threads = number_of(setting("OMP_NUM_THREADS"));
  at::set_num_threads(threads > 0 && threads <= kMaxThreads ? static_cast<int>(threads) : 1);
}

Status prepare_libtorch(const job::Job& job) {
  const std::string dynamic = setting("OMP_DYNAMIC");
  if (!dynamic.empty() && dynamic != "false" && dynamic != "FALSE" && dynamic != "0") {
    return invalid(
        cat("OMP_DYNAMIC=", dynamic,
            " lets OpenMP change the number of threads, which changes results; unset it"));
  }
  const std::string limit = setting("OMP_THREAD_LIMIT");
  if (!limit.empty() && number_of(limit) < job.threads) {
    return invalid(cat("OMP_THREAD_LIMIT=", limit, " is below threads = ", job.threads,
                       " of the job; unset it or lower threads"));
  }
  at::set_num_threads(static_cast<int>(job.threads));
  at::globalContext().setDeterministicAlgorithms(true, false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  model::switch_off_script_optimizer();
  at::manual_seed(job.seed);
  return {};
}

std::string libtorch_version() { return libtorch().version; }

std::map<std::string, std::string> fingerprint() {
  const Libtorch loaded = libtorch();
  // Of several differences the first one by name is told: a version says more than a hash.
  return {{"instep", kVersion},
          {"libtorch", loaded.version},
          {"libtorch build", loaded.build},
          {"program", program()},
          {"processor", cpu_model()},
          {"capability", cat(at::get_cpu_capability(), ": ", cpu_capability())},
          {"threads", cat(at::get_num_threads())},
          {"MKL_CBWR", setting("MKL_CBWR")},
          {"probe", probe()}};
}

}  // namespace instep::train
