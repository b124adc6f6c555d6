#include "cli/meeting.h"

#include <gtest/gtest.h>

#include <map>

namespace instep::cli {
namespace {

using Set = std::map<std::string, std::string>;

Result<Meeting> read(const char* launcher, const Set& set, const std::string& flag = "") {
  Rank rank;
  rank.launcher = launcher;
  return read_meeting(
      [&set](const char* name) -> std::optional<std::string> {
        const auto found = set.find(name);
        return found == set.end() ? std::nullopt : std::optional(found->second);
      },
      rank, flag);
}

std::string place(const char* launcher, const Set& set, const std::string& flag = "") {
  const auto meeting = read(launcher, set, flag);
  return meeting.ok() ? to_text(meeting->address) : meeting.error().message;
}

const Set kMaster = {{"MASTER_ADDR", "node7"}, {"MASTER_PORT", "29500"}};

TEST(ReadMeeting, TorchrunsOwnStoreHasItsPort) {
  EXPECT_EQ(place("torchrun", kMaster), "node7:29501");
  EXPECT_EQ(read("torchrun", kMaster)->from, "MASTER_ADDR and MASTER_PORT + 1");
  EXPECT_EQ(place("mpirun", kMaster), "node7:29500");
  EXPECT_EQ(place("srun", kMaster), "node7:29500");
  EXPECT_EQ(place("torchrun", {{"MASTER_ADDR", "fd00::7"}, {"MASTER_PORT", "1"}}), "[fd00::7]:2");
}

TEST(ReadMeeting, SlurmsFirstNodeAndAPortOfTheJob) {
  const Set job = {{"SLURM_JOB_NODELIST", "node[04-07]"}, {"SLURM_JOB_ID", "31007"}};
  EXPECT_EQ(place("srun", job), "node04:4607");
  Set step = job;
  step["SLURM_STEP_NODELIST"] = "node[06-07]";
  EXPECT_EQ(place("srun", step), "node06:4607");
  EXPECT_EQ(place("srun", {{"SLURM_JOB_NODELIST", "a,b"}}), "a:4600");
}

TEST(ReadMeeting, TheFlagIsOverAllVariables) {
  for (const char* launcher : {"torchrun", "mpirun", "srun"}) {
    EXPECT_EQ(place(launcher, kMaster, "10.0.0.1:7"), "10.0.0.1:7");
    EXPECT_EQ(place(launcher, {}, "10.0.0.1"), "10.0.0.1:4600");
  }
}

TEST(ReadMeeting, WhatIsWrongIsSaidWithItsVariables) {
  EXPECT_EQ(place("mpirun", {}),
            "mpirun says nowhere which host is the first: give --address HOST:PORT, with an "
            "address of the host of rank 0 that all hosts can reach, or set MASTER_ADDR and "
            "MASTER_PORT");
  EXPECT_EQ(place("mpirun", {{"MASTER_ADDR", "node7"}}),
            "MASTER_ADDR is set and MASTER_PORT is not; set both, or say --address HOST:PORT");
  EXPECT_EQ(place("srun", {{"MASTER_PORT", "1"}}),
            "MASTER_PORT is set and MASTER_ADDR is not; set both, or say --address HOST:PORT");
  EXPECT_EQ(place("torchrun", {{"MASTER_ADDR", "a"}, {"MASTER_PORT", "65535"}}),
            "MASTER_PORT=65535 leaves no port for the hosts to meet at; say --address HOST:PORT");
  EXPECT_EQ(place("mpirun", {{"MASTER_ADDR", "a"}, {"MASTER_PORT", "65535"}}), "a:65535");
  EXPECT_EQ(place("mpirun", {{"MASTER_ADDR", "a"}, {"MASTER_PORT", "x"}}),
            "MASTER_PORT=x is no number");
  EXPECT_EQ(place("mpirun", {}, "10.0.0.1:0"),
            "--address: all hosts must know the port, so it is not 0");
  EXPECT_TRUE(place("srun", {}).starts_with("SLURM_STEP_NODELIST is not set"));
  EXPECT_TRUE(place("srun", {{"SLURM_STEP_NODELIST", "node["}})
                  .starts_with("SLURM_STEP_NODELIST: 'node[' is no list of nodes"));
  for (const char* own : {"localhost", "127.0.0.1", "127.0.1.1", "::1"}) {
    EXPECT_NE(
        place("torchrun", {{"MASTER_ADDR", own}, {"MASTER_PORT", "1"}}).find("each host's own"),
        std::string::npos);
  }
}

}  // namespace
}  // namespace instep::cli
