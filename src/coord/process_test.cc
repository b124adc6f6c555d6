#include "coord/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <set>

namespace instep::coord {
namespace {

struct Shell {
  explicit Shell(const std::string& script) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    out = Fd(ends[0]);
    Fd in(ends[1]);
    plan.program = "/bin/sh";
    plan.arguments = {"-c", script};
    plan.output = plan.errors = in.get();
    auto started = Process::start(plan);
    EXPECT_TRUE(started.ok());
    process.emplace(started.take());
  }
  std::string text() const {  // until everybody who can write has ended
    std::string all;
    std::array<char, 4096> buffer{};
    for (ssize_t got = 0; (got = ::read(out.get(), buffer.data(), buffer.size())) > 0;) {
      all.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return all;
  }
  Process::Ended end() {
    pollfd waited{process->pidfd(), POLLIN, 0};
    EXPECT_EQ(::poll(&waited, 1, 60'000), 1);
    return process->reap();
  }
  ProcessPlan plan;
  Fd out;
  std::optional<Process> process;
};

TEST(Process, TellsHowItEnded) {
  Shell exits("exit 7");
  EXPECT_EQ(exits.end().code, 7);
  EXPECT_FALSE(exits.process->reap().ended);
  Shell dies("kill -SEGV $$");
  EXPECT_EQ(dies.end().signal, SIGSEGV);
}

TEST(Process, AnExecThatFailsIsAnErrorWithItsReason) {
  ProcessPlan plan;
  plan.program = "/etc/passwd";
  plan.output = plan.errors = 2;
  const auto failed = Process::start(plan);
  ASSERT_FALSE(failed.ok());
  EXPECT_NE(failed.error().message.find("/etc/passwd: Permission denied"), std::string::npos);
}

TEST(Process, NoneIsLeftBehindWithTheObject) {
  Shell shell("sleep 1000 & echo $!; wait");
  std::array<char, 32> buffer{};
  ASSERT_GT(::read(shell.out.get(), buffer.data(), buffer.size()), 0);
  const pid_t pid = shell.process->pid();
  shell.process.reset();
  EXPECT_NE(::kill(pid, 0), 0);
  // The child of the child was in its group: its end of the pipe is closed, so this returns.
  EXPECT_EQ(shell.text(), "");
}

TEST(Process, InheritsOneDescriptorAndNothingElse) {
  const Fd secret(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const Fd given(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ProcessPlan plan;
  plan.program = "/bin/sh";
  // The listing itself and the shell hold no more than these.
  plan.arguments = {"-c", "for f in /proc/$$/fd/*; do readlink $f; done"};
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  Shell quiet("true");
  quiet.out = Fd(ends[0]);
  {
    Fd in(ends[1]);
    plan.output = plan.errors = in.get();
    plan.inherited = given.get();
    quiet.process.emplace(Process::start(plan).take());
  }
  const std::string listing = quiet.text();
  EXPECT_NE(listing.find("/dev/full"), std::string::npos);
  EXPECT_NE(listing.find("/dev/null"), std::string::npos);
  EXPECT_EQ(listing.find("/dev/zero"), std::string::npos);
}

TEST(Process, TheEnvironmentIsSetOverOurs) {
  ::setenv("INSTEP_PROCESS_TEST", "ours", 1);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  ProcessPlan plan;
  plan.program = "/bin/sh";
  plan.arguments = {"-c", "echo $INSTEP_PROCESS_TEST"};
  plan.environment = {{"INSTEP_PROCESS_TEST", "theirs"}};
  const Fd out(ends[0]);
  Fd in(ends[1]);
  plan.output = plan.errors = in.get();
  const auto process = Process::start(plan).take();
  std::array<char, 32> buffer{};
  const ssize_t got = ::read(out.get(), buffer.data(), buffer.size());
  EXPECT_EQ(std::string(buffer.data(), std::size_t(got)), "theirs\n");
}

TEST(FindProgram, LooksWhereAShellWould) {
  EXPECT_EQ(find_program("/bin/sh")->string(), "/bin/sh");
  EXPECT_TRUE(find_program("sh").ok());
  for (const char* name : {"./no-such-program", "no-such-program", "", "/etc/passwd", "/bin"}) {
    EXPECT_EQ(find_program(name).error().kind, ErrorKind::kNotFound) << name;
  }
}

TEST(CpusOf, NeighboursThatWrapAround) {
  const std::vector<int> usable = {2, 3, 5, 7};
  EXPECT_EQ(cpus_of(0, 1, usable), (std::vector<int>{2}));
  EXPECT_EQ(cpus_of(5, 1, usable), (std::vector<int>{3}));
  EXPECT_EQ(cpus_of(1, 2, usable), (std::vector<int>{5, 7}));
  EXPECT_EQ(cpus_of(1, 3, usable), (std::vector<int>{7, 2, 3}));
  EXPECT_EQ(cpus_of(0, 9, usable).size(), 4U);
}

}  // namespace
}  // namespace instep::coord
