#include "cli/ranks.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <vector>

#include "base/text.h"
#include "base/utf8.h"
#include "cli/slurm.h"

namespace instep::cli {
namespace {

// The names of one launcher's variables.
struct Names {
  const char* launcher;
  const char *rank, *size, *local_rank, *local_size;
};
constexpr Names kTorchrun = {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Names kMpirun = {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                           "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
// Slurm counts a step's tasks, and by node only in a notation of its own.
constexpr Names kSrun = {"srun", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", nullptr};

Status is_below(const char* name, std::uint32_t value, const char* bound_name,
                std::uint32_t bound) {
  if (value < bound) return {};
  return invalid(cat(name, "=", value, " must be below ", bound_name, "=", bound));
}

// None: no variable of the launcher's is set.
Result<std::optional<Rank>> read(const Environment& variables, const Names& names) {
  Rank out;
  out.launcher = names.launcher;
  struct Field {
    const char* name;
    std::uint32_t* into;
  };
  const std::array fields = {Field{names.rank, &out.rank}, Field{names.size, &out.size},
                             Field{names.local_rank, &out.local_rank},
                             Field{names.local_size, &out.local_size}};
  std::vector<std::string> set, missing;
  for (const Field& field : fields) {
    if (field.name == nullptr) continue;
    const auto text = variables(field.name);
    (text ? set : missing).push_back(field.name);
    if (!text) continue;
    INSTEP_ASSIGN_OR_RETURN(*field.into, number_of(field.name, *text));
  }
  if (set.empty()) return std::optional<Rank>();
  if (!missing.empty()) {
    return invalid(cat(join(set, ", "), set.size() == 1 ? " is" : " are", " set and ",
                       join(missing, ", "), missing.size() == 1 ? " is" : " are", " not; ",
                       names.launcher, " sets all of them"));
  }
  INSTEP_RETURN_IF_ERROR(is_below(names.rank, out.rank, names.size, out.size));
  if (names.local_size == nullptr) return std::optional(out);
  INSTEP_RETURN_IF_ERROR(
      is_below(names.local_rank, out.local_rank, names.local_size, out.local_size));
  if (out.local_size > out.size) {
    return invalid(
        cat(names.local_size, "=", out.local_size, " is above ", names.size, "=", out.size));
  }
  return std::optional(out);
}

// A step's number of tasks is above that of the job that it is of.
Result<std::optional<Rank>> read_slurm(const Environment& variables) {
  Names names = kSrun;
  if (variables("SLURM_STEP_NUM_TASKS")) names.size = "SLURM_STEP_NUM_TASKS";
  // A job's own variables are there without a step too, and say nothing of processes.
  if (!variables(names.rank) && !variables(names.local_rank)) return std::optional<Rank>();
  INSTEP_ASSIGN_OR_RETURN(std::optional<Rank> out, read(variables, names));
  const char* nodes_name =
      variables("SLURM_STEP_NUM_NODES") ? "SLURM_STEP_NUM_NODES" : "SLURM_NNODES";
  std::uint32_t nodes = 1;
  if (const auto text = variables(nodes_name)) {
    INSTEP_ASSIGN_OR_RETURN(nodes, number_of(nodes_name, *text));
  }
  out->local_size = nodes == 1 ? out->size : 0;  // 0: of several nodes, and not known yet
  if (nodes == 1) {
    INSTEP_RETURN_IF_ERROR(is_below(names.local_rank, out->local_rank, names.size, out->size));
  }
  return out;
}

// Of a task on one of several nodes.
Status count_here(const Environment& variables, Rank& rank) {
  const char* counts_name =
      variables("SLURM_STEP_TASKS_PER_NODE") ? "SLURM_STEP_TASKS_PER_NODE" : "SLURM_TASKS_PER_NODE";
  const auto counts = variables(counts_name);
  const auto node_text = variables("SLURM_NODEID");
  if (!counts || !node_text) {
    return invalid(cat(counts ? "SLURM_NODEID" : counts_name,
                       " is not set; srun sets it for tasks on several nodes"));
  }
  INSTEP_ASSIGN_OR_RETURN(const std::uint32_t node, number_of("SLURM_NODEID", *node_text));
  const auto count = count_tasks(*counts, node);
  if (!count.ok()) return invalid(cat(counts_name, ": ", count.error().message));
  if (count->total != rank.size) {
    return invalid(cat(counts_name, "=", fit(*counts, 60), " is of ", count->total,
                       " tasks, and there are ", rank.size));
  }
  rank.local_size = count->here;
  return is_below(kSrun.local_rank, rank.local_rank, counts_name, rank.local_size);
}

void name_job(const Environment& variables, Rank& rank) {
  const auto text = [&](const char* name) { return variables(name).value_or(""); };
  std::vector<std::string> parts;
  if (rank.launcher == kTorchrun.launcher) {
    // Its runs are often named alike, but each has its port.
    parts = {text("TORCHELASTIC_RUN_ID"), text("MASTER_ADDR"), text("MASTER_PORT")};
  } else if (rank.launcher == kMpirun.launcher) {
    parts = {text("PMIX_NAMESPACE"), text("OMPI_MCA_ess_base_jobid")};
  } else {
    parts = {text("SLURM_JOB_ID"), text("SLURM_STEP_ID"), text("SLURM_RESTART_COUNT")};
  }
  rank.run = join(parts, "/");
  // Each host counts its own restarts.
  if (rank.launcher == kTorchrun.launcher) parts.push_back(text("TORCHELASTIC_RESTART_COUNT"));
  rank.job = join(parts, "/");
}

Status agree(const Rank& one, const Names& its, const Rank& other, const Names& others) {
  if (one.rank == other.rank && one.size == other.size && one.local_rank == other.local_rank) {
    return {};
  }
  return invalid(cat(its.rank, "=", one.rank, " of ", its.size, "=", one.size, " (", one.launcher,
                     ") and ", others.rank, "=", other.rank, " of ", others.size, "=", other.size,
                     " (", other.launcher, ") contradict each other; unset those of the launcher ",
                     "that did not start this"));
}

// Launchers count each host's processes in the order in which they count all.
Status ranks_agree(const Rank& rank) {
  const auto said = [&](const char* what) {
    return invalid(cat(rank.launcher, ": this process is number ", rank.rank, " of all and number ",
                       rank.local_rank, " on this host, ", what));
  };
  if (rank.on_one_host() && rank.rank != rank.local_rank) {
    return said("where all of them are said to be");
  }
  if (rank.rank < rank.local_rank) return said("which cannot both be");
  return {};
}

}  // namespace

Result<std::uint32_t> number_of(const char* name, const std::string& text) {
  std::uint32_t value = 0;
  const char* end = text.data() + text.size();
  const auto done = std::from_chars(text.data(), end, value);
  if (done.ec != std::errc() || done.ptr != end) {
    return invalid(cat(name, "=", fit(text, 60), " is no number"));
  }
  return value;
}

Environment environment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* text = std::getenv(name);
    return text == nullptr ? std::nullopt : std::optional<std::string>(text);
  };
}

Result<Rank> read_rank(const Environment& variables) {
  INSTEP_ASSIGN_OR_RETURN(const auto torchrun, read(variables, kTorchrun));
  INSTEP_ASSIGN_OR_RETURN(const auto mpirun, read(variables, kMpirun));
  INSTEP_ASSIGN_OR_RETURN(const auto srun, read_slurm(variables));
  if (torchrun && mpirun) {
    INSTEP_RETURN_IF_ERROR(agree(*torchrun, kTorchrun, *mpirun, kMpirun));
  }
  // Slurm's are those of the job around another launcher, unless srun started several processes.
  if (srun && srun->size > 1 && variables("SLURM_STEP_ID")) {
    if (torchrun) INSTEP_RETURN_IF_ERROR(agree(*torchrun, kTorchrun, *srun, kSrun));
    if (mpirun) INSTEP_RETURN_IF_ERROR(agree(*mpirun, kMpirun, *srun, kSrun));
  }
  const auto& found = torchrun ? torchrun : mpirun ? mpirun : srun;
  if (!found) {
    return invalid(
        "--from-env: none of RANK (torchrun), OMPI_COMM_WORLD_RANK (mpirun) and SLURM_PROCID "
        "(srun) is set; without a launcher use `instep run JOB -n N`");
  }
  Rank out = *found;
  if (out.local_size == 0) INSTEP_RETURN_IF_ERROR(count_here(variables, out));
  INSTEP_RETURN_IF_ERROR(ranks_agree(out));
  name_job(variables, out);
  return out;
}

}  // namespace instep::cli
