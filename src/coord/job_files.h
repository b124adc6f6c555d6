// The files that a job names beside its data. Where hosts train together each keeps them in its run
// directory, as RUN/files/KEY-SHA256: so they stay what they were when the run began, whatever
// becomes of the job's own, and the directory can go on by itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "job/job.h"
#include "wire/host_message.h"

namespace instep::coord {

// By their keys in the job: where files that it names lie here.
using LocalFiles = std::map<std::string, std::string>;

// Of one that travels to other hosts.
inline constexpr std::uint64_t kMaxJobFileBytes = std::uint64_t{16} << 30;

// Of the first host, before others come: copies the job's files into the run directory, where they
// are not there yet, and says what others are to get. An Error names the key, the file, and what to
// do.
Result<std::vector<wire::HostFile>> keep_job_files(const job::Job& job,
                                                   const std::filesystem::path& run_dir);
// What the first host says of its files, on one that joins: nothing but what the job names, of sane
// sizes and names.
Status check_job_files(const job::Job& job, const std::vector<wire::HostFile>& files);
std::filesystem::path kept_file(const std::filesystem::path& run_dir, const wire::HostFile& file);
LocalFiles local_files(const std::filesystem::path& run_dir,
                       const std::vector<wire::HostFile>& files);
// Those that a run directory has kept. kCorrupt: one is no longer what it was. Reads every byte.
Result<LocalFiles> find_job_files(const job::Job& job, const std::filesystem::path& run_dir);

}  // namespace instep::coord
