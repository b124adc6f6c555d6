// What a host that joins gets from the first one: the files that the job names, each in its place
// of the run directory (job_files.h) as soon as it is whole and what it should be, and then the
// data's image. One after the other, each from its first byte to its last; when a link breaks in
// between, what has come stays. On the loop's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "base/result.h"
#include "fabric/frame.h"
#include "fabric/host_memory.h"
#include "wire/host_message.h"

namespace instep::coord {

class Arrivals {
 public:
  // `files` are checked (check_job_files).
  Arrivals(std::filesystem::path run_dir, std::vector<wire::HostFile> files, bool has_dataset)
      : run_dir_(std::move(run_dir)), files_(std::move(files)), has_dataset_(has_dataset) {}

  // What is to be asked for; none: all is here.
  std::optional<wire::HostWants> wants() const;
  // A piece of that (kPieceFrame), as a link's sink gets it.
  Result<std::span<std::byte>> place(const fabric::FrameHead& head);
  Status took(const fabric::FrameHead& head);
  // Invalid without one; once.
  Fd take_dataset() { return std::move(dataset_); }

 private:
  bool is_file() const { return now_ < files_.size(); }
  Result<std::span<std::byte>> place_in_dataset(const fabric::FrameHead& head);
  Status begin_file();
  Status end_file();
  std::filesystem::path temporary() const;

  const std::filesystem::path run_dir_;
  const std::vector<wire::HostFile> files_;
  const bool has_dataset_;
  std::size_t now_ = 0;      // which comes
  std::uint64_t there_ = 0;  // of its bytes
  std::vector<std::byte> piece_;
  Fd file_;
  std::optional<Sha256> digest_;
  Fd dataset_;
  fabric::Mapping dataset_map_;
  std::uint64_t dataset_bytes_ = 0;
};

}  // namespace instep::coord
