#include "cli/meeting.h"

#include "base/text.h"
#include "cli/slurm.h"

namespace instep::cli {
namespace {

// That each host means itself by this.
bool is_loopback(const std::string& host) {
  return host == "localhost" || host.starts_with("127.") || host == "::1";
}

constexpr std::uint16_t kMostPort = 65535;

Result<Meeting> by_master(const Environment& variables, const Rank& rank) {
  const auto host = variables("MASTER_ADDR"), port_text = variables("MASTER_PORT");
  if (!host || !port_text) {
    return invalid(
        cat(host ? "MASTER_ADDR is set and MASTER_PORT" : "MASTER_PORT is set and MASTER_ADDR",
            " is not; set both, or say --address HOST:PORT"));
  }
  INSTEP_ASSIGN_OR_RETURN(const std::uint32_t port, number_of("MASTER_PORT", *port_text));
  // torchrun's own store has that port.
  const bool next = rank.launcher == "torchrun";
  if (port == 0 || port > kMostPort - (next ? 1 : 0)) {
    return invalid(cat("MASTER_PORT=", port,
                       " leaves no port for the hosts to meet at; say "
                       "--address HOST:PORT"));
  }
  // One with colons is IPv6.
  const std::string text = host->find(':') == std::string::npos ? *host : cat("[", *host, "]");
  auto address = fabric::parse_address(text, static_cast<std::uint16_t>(port + (next ? 1 : 0)));
  if (!address.ok()) return invalid(cat("MASTER_ADDR: ", address.error().message));
  return Meeting{address.take(),
                 next ? "MASTER_ADDR and MASTER_PORT + 1" : "MASTER_ADDR and MASTER_PORT"};
}

// Jobs that share a node are to meet at ports of their own.
Result<Meeting> by_slurm(const Environment& variables) {
  constexpr std::uint32_t kPorts = 1000;
  const char* name =
      variables("SLURM_STEP_NODELIST") ? "SLURM_STEP_NODELIST" : "SLURM_JOB_NODELIST";
  const auto list = variables(name);
  if (!list) {
    return invalid(
        "SLURM_STEP_NODELIST is not set; srun sets it. Say where the hosts of this job "
        "meet by --address HOST:PORT");
  }
  auto node = first_node(*list);
  if (!node.ok()) return invalid(cat(name, ": ", node.error().message));
  std::uint32_t job = 0;
  if (const auto text = variables("SLURM_JOB_ID")) {
    INSTEP_ASSIGN_OR_RETURN(job, number_of("SLURM_JOB_ID", *text));
  }
  return Meeting{{node.take(), static_cast<std::uint16_t>(fabric::kUsualPort + job % kPorts)},
                 cat(name, " and SLURM_JOB_ID")};
}

Result<Meeting> by_flag(const std::string& flag) {
  auto address = fabric::parse_address(flag, fabric::kUsualPort);
  if (!address.ok()) return invalid(cat("--address: ", address.error().message));
  if (address->port == 0) return invalid("--address: all hosts must know the port, so it is not 0");
  return Meeting{address.take(), "--address"};
}

}  // namespace

Result<Meeting> read_meeting(const Environment& variables, const Rank& rank,
                             const std::string& flag) {
  const bool master = variables("MASTER_ADDR") || variables("MASTER_PORT");
  if (flag.empty() && !master && rank.launcher == "mpirun") {
    return invalid(
        "mpirun says nowhere which host is the first: give --address HOST:PORT, with an "
        "address of the host of rank 0 that all hosts can reach, or set MASTER_ADDR and "
        "MASTER_PORT");
  }
  INSTEP_ASSIGN_OR_RETURN(Meeting out, !flag.empty() ? by_flag(flag)
                                       : master      ? by_master(variables, rank)
                                                     : by_slurm(variables));
  if (is_loopback(out.address.host)) {
    return invalid(cat("the hosts cannot meet at ", out.address.host, " (", out.from,
                       "), which is each host's own; give an address that all can reach (--address "
                       "HOST:PORT)"));
  }
  return out;
}

}  // namespace instep::cli
