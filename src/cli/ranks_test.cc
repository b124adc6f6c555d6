#include "cli/ranks.h"

#include <gtest/gtest.h>

#include <map>

namespace instep::cli {
namespace {

using Set = std::map<std::string, std::string>;

Result<Rank> read(const Set& set) {
  return read_rank([&set](const char* name) -> std::optional<std::string> {
    const auto found = set.find(name);
    return found == set.end() ? std::nullopt : std::optional(found->second);
  });
}

Set with(Set set, const Set& more) {
  for (const auto& [name, value] : more) set[name] = value;
  return set;
}

const Set kTorch = {{"RANK", "1"},
                    {"WORLD_SIZE", "4"},
                    {"LOCAL_RANK", "1"},
                    {"LOCAL_WORLD_SIZE", "4"},
                    {"MASTER_ADDR", "localhost"},
                    {"MASTER_PORT", "29500"},
                    {"TORCHELASTIC_RUN_ID", "none"}};
const Set kMpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                  {"OMPI_COMM_WORLD_SIZE", "4"},
                  {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                  {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                  {"PMIX_NAMESPACE", "154075137"}};
const Set kSlurm = {{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "4"},  {"SLURM_LOCALID", "1"},
                    {"SLURM_NNODES", "1"}, {"SLURM_JOB_ID", "17"}, {"SLURM_STEP_ID", "0"}};

TEST(ReadRank, EachLauncher) {
  EXPECT_EQ(*read(kTorch),
            (Rank{"torchrun", 1, 4, 1, 4, "none/localhost/29500/", "none/localhost/29500"}));
  EXPECT_EQ(*read(kMpi), (Rank{"mpirun", 1, 4, 1, 4, "154075137/", "154075137/"}));
  EXPECT_EQ(*read(kSlurm), (Rank{"srun", 1, 4, 1, 4, "17/0/", "17/0/"}));
}

TEST(ReadRank, OnSeveralHosts) {
  const Rank torch = *read(with(kTorch, {{"RANK", "5"}, {"WORLD_SIZE", "8"}}));
  EXPECT_EQ(torch.rank, 5U);
  EXPECT_EQ(torch.local_size, 4U);
  EXPECT_FALSE(torch.on_one_host());
  EXPECT_EQ(read(with(kMpi, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}))->local_size, 2U);
  // Each host counts its own restarts, and all must name the run alike.
  const Rank again = *read(with(kTorch, {{"TORCHELASTIC_RESTART_COUNT", "1"}}));
  EXPECT_EQ(again.run, read(kTorch)->run);
  EXPECT_NE(again.job, read(kTorch)->job);
  const Set slurm = with(kSlurm, {{"SLURM_NNODES", "3"},
                                  {"SLURM_PROCID", "3"},
                                  {"SLURM_LOCALID", "0"},
                                  {"SLURM_NODEID", "2"},
                                  {"SLURM_NTASKS", "5"},
                                  {"SLURM_TASKS_PER_NODE", "1,2(x2)"}});
  EXPECT_EQ(*read(slurm), (Rank{"srun", 3, 5, 0, 2, "17/0/", "17/0/"}));
  EXPECT_EQ(read(with(slurm, {{"SLURM_TASKS_PER_NODE", "9(x9)"},
                              {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1"}}))
                ->local_size,
            1U);
}

TEST(ReadRank, LaunchersInsideEachOther) {
  EXPECT_EQ(read(with(kTorch, kMpi))->launcher, "torchrun");
  EXPECT_EQ(read(with(kTorch, kSlurm))->launcher, "torchrun");
  // Of a batch script, or of the one task of which torchrun is made many.
  const Set batch = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_LOCALID", "0"}};
  EXPECT_EQ(read(with(kMpi, batch))->launcher, "mpirun");
  const Set task = {
      {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}, {"SLURM_STEP_ID", "0"}, {"SLURM_LOCALID", "0"}};
  EXPECT_EQ(read(with(kTorch, task))->launcher, "torchrun");
  // A step of fewer tasks than the job has.
  EXPECT_EQ(read(with(kSlurm, {{"SLURM_STEP_NUM_TASKS", "2"}}))->size, 2U);
}

TEST(ReadRank, WhatIsWrongIsSaidWithItsVariables) {
  const auto error = [](const Set& set) {
    const auto rank = read(set);
    return rank.ok() ? "no error" : rank.error().message;
  };
  EXPECT_TRUE(error({}).starts_with("--from-env: none of RANK (torchrun), OMPI_COMM_WORLD_RANK"));
  EXPECT_EQ(error({{"SLURM_NTASKS", "4"}, {"SLURM_JOB_ID", "17"}}), error({}));
  EXPECT_EQ(error({{"RANK", "0"}, {"LOCAL_RANK", "0"}, {"LOCAL_WORLD_SIZE", "1"}}),
            "RANK, LOCAL_RANK, LOCAL_WORLD_SIZE are set and WORLD_SIZE is not; torchrun sets all "
            "of them");
  EXPECT_EQ(error({{"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}}),
            "SLURM_PROCID, SLURM_LOCALID are set and SLURM_NTASKS is not; srun sets all of them");
  EXPECT_EQ(error(with(kTorch, {{"LOCAL_RANK", "4"}})),
            "LOCAL_RANK=4 must be below LOCAL_WORLD_SIZE=4");
  EXPECT_EQ(error(with(kTorch, {{"RANK", "4"}})), "RANK=4 must be below WORLD_SIZE=4");
  EXPECT_EQ(error(with(kTorch, {{"LOCAL_WORLD_SIZE", "5"}})),
            "LOCAL_WORLD_SIZE=5 is above WORLD_SIZE=4");
  EXPECT_EQ(error(with(kSlurm, {{"SLURM_LOCALID", "9"}})),
            "SLURM_LOCALID=9 must be below SLURM_NTASKS=4");
  for (const char* text : {"", "-1", "1x", " 1", "4294967296"}) {
    EXPECT_EQ(error(with(kMpi, {{"OMPI_COMM_WORLD_RANK", text}})),
              "OMPI_COMM_WORLD_RANK=" + std::string(text) + " is no number");
  }
  EXPECT_EQ(error(with(with(kTorch, kMpi), {{"RANK", "2"}})),
            "RANK=2 of WORLD_SIZE=4 (torchrun) and OMPI_COMM_WORLD_RANK=1 of "
            "OMPI_COMM_WORLD_SIZE=4 (mpirun) contradict each other; unset those of the launcher "
            "that did not start this");
  EXPECT_NE(error(with(with(kMpi, kSlurm), {{"SLURM_PROCID", "0"}})).find("SLURM_PROCID=0"),
            std::string::npos);
  EXPECT_EQ(error(with(kTorch, {{"RANK", "2"}})),
            "torchrun: this process is number 2 of all and number 1 on this host, where all of "
            "them are said to be");
  EXPECT_EQ(
      error(with(kTorch, {{"RANK", "0"}, {"WORLD_SIZE", "8"}})),
      "torchrun: this process is number 0 of all and number 1 on this host, which cannot both "
      "be");
  const Set nodes = with(kSlurm, {{"SLURM_NNODES", "2"}});
  EXPECT_EQ(error(nodes),
            "SLURM_TASKS_PER_NODE is not set; srun sets it for tasks on several nodes");
  const Set counted = with(nodes, {{"SLURM_STEP_TASKS_PER_NODE", "2(x2)"}});
  EXPECT_EQ(error(counted), "SLURM_NODEID is not set; srun sets it for tasks on several nodes");
  EXPECT_EQ(error(with(counted, {{"SLURM_NODEID", "2"}})),
            "SLURM_STEP_TASKS_PER_NODE: '2(x2)' is of 2 nodes, and this one has number 2");
  EXPECT_EQ(
      error(with(with(counted, {{"SLURM_NODEID", "1"}}), {{"SLURM_STEP_TASKS_PER_NODE", "3"}})),
      "SLURM_STEP_TASKS_PER_NODE: '3' is of 1 node, and this one has number 1");
  EXPECT_EQ(error(with(with(counted, {{"SLURM_NODEID", "0"}}), {{"SLURM_NTASKS", "5"}})),
            "SLURM_STEP_TASKS_PER_NODE=2(x2) is of 4 tasks, and there are 5");
  EXPECT_EQ(error(with(with(counted, {{"SLURM_NODEID", "0"}}), {{"SLURM_LOCALID", "2"}})),
            "SLURM_LOCALID=2 must be below SLURM_STEP_TASKS_PER_NODE=2");
}

}  // namespace
}  // namespace instep::cli
