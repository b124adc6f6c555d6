// `instep plot`: runs as a picture.
#include <sys/stat.h>

#include <cstdio>

#include "base/log.h"
#include "base/text.h"
#include "cli/commands.h"
#include "coord/plot.h"
#include "coord/run_dir.h"

namespace instep::cli {
namespace fs = std::filesystem;
namespace {

// Where the picture goes, found out before anything is read.
Result<std::string> picture_file(const Options& options, const fs::path& first_run) {
  if (options.output.empty()) {
    if (options.targets.size() == 1) return (first_run / "plot.svg").string();
    return invalid("a picture of several runs needs a name: -o FILE.svg");
  }
  std::error_code error;
  const fs::path file = options.output;
  if (fs::is_directory(file, error)) {
    return invalid(cat("-o ", options.output, " is a folder; name a file *.svg"));
  }
  const bool special = fs::exists(file, error) && !fs::is_regular_file(file, error);
  if (!special && file.extension() != ".svg") {
    return invalid(cat("-o ", options.output, ": instep plot writes SVG; name a file *.svg"));
  }
  return options.output;
}

coord::By by_of(const std::string& word) {
  if (word == "epoch") return coord::By::kEpoch;
  return word == "time" ? coord::By::kTime : coord::By::kRound;
}

Result<std::vector<coord::RunRecords>> read_runs(const std::vector<fs::path>& paths, coord::By by) {
  std::vector<coord::RunRecords> out;
  for (const fs::path& path : paths) {
    INSTEP_ASSIGN_OR_RETURN(coord::RunRecords records, coord::read_records(path, by));
    for (const std::string& warning : records.warnings) log(LogLevel::kWarning, warning);
    if (records.empty()) {
      return Error{ErrorKind::kNotFound,
                   cat("the run ", path.string(),
                       " has no metrics yet; they come with the end of its first epoch, or after "
                       "half a second of training")};
    }
    out.push_back(std::move(records));
  }
  return out;
}

}  // namespace

int plot_command(const Options& options) {
  if (options.targets.size() > coord::kMostRuns) {
    return fail(invalid(cat("instep plot: found ", options.targets.size(),
                            " runs; allowed: at most ", coord::kMostRuns, " on one picture")));
  }
  std::vector<fs::path> paths;
  for (const std::string& target : options.targets) {
    auto run = coord::find_run(target);
    if (!run.ok()) return fail(run.error());
    paths.push_back(run.take());
  }
  const auto file = picture_file(options, paths.front());
  if (!file.ok()) return fail(file.error());
  coord::PlotOptions wanted;
  wanted.by = by_of(options.by);
  wanted.log_loss = options.log_loss;
  const auto runs = read_runs(paths, wanted.by);
  if (!runs.ok()) return fail(runs.error());
  const coord::Drawing drawing = coord::plot(*runs, wanted);
  if (drawing.panels.empty()) {
    return fail(invalid("there is nothing to draw: no value is above 0, as --log needs it"));
  }
  if (const Status status = write_report(*file, coord::to_svg(drawing)); !status.ok()) {
    return fail(status.error());
  }
  if (!options.quiet && fs::is_regular_file(*file)) std::printf("wrote %s\n", file->c_str());
  return 0;
}

}  // namespace instep::cli
