// Without libFuzzer: hands the files named, and those of the folders named, to the target once. Of
// a folder, a corpus, the seeds must have one for each message that the target reads.
#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "input.h"

namespace fs = std::filesystem;

namespace {

bool is_seed(const fs::path& file) { return file.filename().string().starts_with("seed-"); }

bool run(const fs::path& file) {
  const auto content = instep::read_file(file, 1 << 20);
  if (!content.ok()) {
    std::fprintf(stderr, "%s\n", content.error().message.c_str());
    return false;
  }
  // A copy of just its size: one byte behind it is nobody's.
  const std::vector<std::uint8_t> bytes(content->begin(), content->end());
  std::fprintf(stderr, "%s\n", file.c_str());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  return true;
}

bool all_seen() {
  for (const std::type_index& type : instep::fuzz::unseen()) {
    const std::unique_ptr<char, decltype(&std::free)> name(
        abi::__cxa_demangle(type.name(), nullptr, nullptr, nullptr), &std::free);
    std::fprintf(stderr, "no seed is read as %s\n", name != nullptr ? name.get() : type.name());
  }
  return instep::fuzz::unseen().empty();
}

}  // namespace

int main(int argc, char** argv) {
  bool corpus = false;
  std::vector<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    corpus = true;
    for (const auto& entry : fs::directory_iterator(argv[i])) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  const auto others = std::stable_partition(files.begin(), files.end(), is_seed);
  if (!std::all_of(files.begin(), others, run)) return 1;
  const bool whole = !corpus || all_seen();  // before what a fuzzer found, which a merge may drop
  if (!std::all_of(others, files.end(), run)) return 1;
  std::printf("%zu inputs\n", files.size());
  return whole && !files.empty() ? 0 : 1;
}
