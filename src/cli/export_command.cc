// `instep export`: a checkpoint's model for Python, under PyTorch's own names.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "base/file.h"
#include "base/text.h"
#include "cli/export_python.h"
#include "cli/reading.h"
#include "store/safetensors.h"

namespace instep::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kWeights = "model.safetensors";
constexpr std::string_view kScript = "model.pt";
constexpr std::string_view kModule = "model.py";
constexpr std::string_view kJob = "job.json";

// Whether a file is of the kind that is to be written in its place.
bool is_ours(const fs::path& file) {
  if (file.filename() == kWeights) return store::SafetensorsFile::open(file).ok();
  constexpr std::uint64_t kMost = 1 << 20;
  if (file.filename() == kScript) {
    std::array<char, 4> begin{};
    const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    return fd.valid() && ::read(fd.get(), begin.data(), begin.size()) == 4 &&
           std::string_view(begin.data(), 4) == "PK\x03\x04";  // a zip archive
  }
  const Result<std::string> text = read_file(file, kMost);
  if (!text.ok()) return false;
  if (file.filename() == kJob) return job::from_json(*text).ok();
  return text->starts_with(kPythonBegin);
}

Status prepare_folder(const fs::path& folder) {
  std::error_code error;
  for (const char* sign : {"manifest.json", "run.json"}) {
    if (fs::exists(folder / sign, error)) {
      return Error{ErrorKind::kTaken, cat("-o ", folder.string(), " holds a checkpoint or a run (",
                                          sign, "); choose another folder")};
    }
  }
  for (const std::string_view name : {kWeights, kScript, kModule, kJob}) {
    const fs::path file = folder / name;
    if (fs::exists(fs::symlink_status(file, error)) && !is_ours(file)) {
      return Error{ErrorKind::kTaken, cat(file.string(),
                                          " is there and was not exported by instep; "
                                          "remove it, or choose another folder")};
    }
  }
  fs::create_directories(folder, error);
  if (error) return os_error("make the folder", folder, error.value());
  return {};
}

// What to write: the checkpoint's tensors, those of the moving average in place of the trained
// ones.
struct Weights {
  std::vector<store::SafetensorsFile> files;  // that the bytes lie in
  std::vector<store::TensorInfo> tensors;
  std::vector<std::span<const std::byte>> bytes;
};

Result<Weights> read_weights(const fs::path& checkpoint, bool ema) {
  INSTEP_ASSIGN_OR_RETURN(auto model, store::SafetensorsFile::open(checkpoint / kWeights));
  Weights out{{model}, model.tensors(), {}};
  for (const store::TensorInfo& tensor : out.tensors) out.bytes.push_back(model.bytes(tensor));
  if (!ema) return out;
  INSTEP_ASSIGN_OR_RETURN(const auto state,
                          store::SafetensorsFile::open(checkpoint / "state.safetensors"));
  std::size_t found = 0;
  for (std::size_t i = 0; i < out.tensors.size(); ++i) {
    const store::TensorInfo* average =
        state.find(cat(out.tensors[i].name, ".", store::kAverageSuffix));
    if (average == nullptr) continue;
    if (average->dtype != out.tensors[i].dtype || average->shape != out.tensors[i].shape) {
      return Error{ErrorKind::kCorrupt, cat((checkpoint / "state.safetensors").string(), ": ",
                                            average->name, " is not as ", out.tensors[i].name)};
    }
    out.bytes[i] = state.bytes(*average);
    ++found;
  }
  out.files.push_back(state);
  if (found > 0) return out;
  return invalid(cat(checkpoint.string(),
                     " holds no averaged weights: its job has no ema.decay; export it without "
                     "--ema"));
}

Status write_weights(const Weights& weights, const fs::path& folder) {
  const store::SafetensorsLayout layout(weights.tensors, {{"format", "pt"}});
  const std::string name = cat(kWeights, ".tmp");
  std::error_code error;
  fs::remove(folder / name, error);
  {
    INSTEP_ASSIGN_OR_RETURN(auto file,
                            store::CheckpointFile::open(folder, name, layout.file_bytes()));
    INSTEP_RETURN_IF_ERROR(file.write(0, std::as_bytes(std::span(layout.header()))));
    for (std::size_t i = 0; i < weights.bytes.size(); ++i) {
      INSTEP_RETURN_IF_ERROR(file.write(layout.tensors()[i].offset, weights.bytes[i]));
    }
    INSTEP_RETURN_IF_ERROR(file.sync());
  }
  fs::rename(folder / name, folder / kWeights, error);
  if (error) return os_error("write", folder / kWeights, error.value());
  return sync_folder(folder);
}

// As TorchScript again, which only libtorch can write: an agent does, with the weights in the
// folder.
Status write_script(const Options& options, const store::Found& found, const fs::path& folder) {
  const Scratch scratch;
  INSTEP_ASSIGN_OR_RETURN(coord::LaunchPlan plan, plan_reading(options, found, scratch));
  plan.mode = coord::Mode::kExport;
  plan.predict_input = fs::absolute(folder).string();
  const coord::LaunchResult result = coord::launch(plan);
  if (!result.report.empty()) return {};
  return Error{result.exit_code == 2 ? ErrorKind::kInvalid : ErrorKind::kUnavailable,
               result.message};
}

Status export_to(const Options& options, const store::Found& found,
                 std::vector<std::string>& done) {
  const fs::path folder = options.output;
  INSTEP_ASSIGN_OR_RETURN(const job::Job job, job::from_json(found.manifest.job_json));
  INSTEP_ASSIGN_OR_RETURN(const Weights weights, read_weights(found.folder, options.ema));
  INSTEP_RETURN_IF_ERROR(prepare_folder(folder));
  INSTEP_RETURN_IF_ERROR(write_weights(weights, folder));
  done.push_back(cat(kWeights, "  ", weights.tensors.size(), " tensors",
                     options.ema ? ", averaged" : "", ", round ", found.manifest.round));
  INSTEP_RETURN_IF_ERROR(write_file_atomically(folder / kJob, cat(found.manifest.job_json, "\n")));
  done.push_back(cat(kJob, "           the job that trained them"));
  if (const std::string module = python_module(job.model.kind); !module.empty()) {
    INSTEP_RETURN_IF_ERROR(write_file_atomically(folder / kModule, module));
    done.push_back(cat(kModule, "           load(folder) gives the ", job.model.kind,
                       " in eval mode, for Python with torch and safetensors"));
  }
  if (job.model.kind == "torchscript") {
    INSTEP_RETURN_IF_ERROR(write_script(options, found, folder));
    done.push_back(cat(kScript, "           the TorchScript module: torch.jit.load()"));
  }
  if (job.model.kind.empty()) {
    done.push_back(
        "a program trained this model, and it alone knows its code: the weights are all "
        "there is");
  }
  return {};
}

}  // namespace

int export_command(const Options& options) {
  const auto found = open_target(options);
  if (!found.ok()) return fail(found.error());
  std::vector<std::string> done;
  const Status status = export_to(options, *found, done);
  if (!status.ok()) return fail(status.error());
  if (options.quiet) return 0;
  std::printf("exported %s to %s\n", found->folder.c_str(), options.output.c_str());
  for (const std::string& line : done) std::printf("  %s\n", line.c_str());
  return 0;
}

}  // namespace instep::cli
