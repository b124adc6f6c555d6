#include "coord/crew.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <cstdlib>
#include <filesystem>

#include "base/testing_folder.h"
#include "coord/fake_agent_test.h"

namespace instep::coord {
namespace {
namespace fs = std::filesystem;

// Drains the crew until its one agent has ended; welcomes it, and ends it when it is ready.
std::vector<wire::Ready> live(Crew& crew) {
  std::vector<wire::Ready> out;
  while (true) {
    std::vector<int> descriptors;
    crew.collect(descriptors);
    std::vector<pollfd> polled;
    for (const int descriptor : descriptors) polled.push_back({descriptor, POLLIN, 0});
    ::poll(polled.data(), polled.size(), -1);
    for (member::Event& event : crew.drain([](std::uint32_t, std::string_view) {})) {
      if (std::holds_alternative<member::Exited>(event)) return out;
      const auto* heard = std::get_if<member::Heard>(&event);
      if (heard == nullptr) continue;
      if (std::holds_alternative<wire::Hello>(heard->message)) {
        EXPECT_TRUE(crew.welcome(0, {}, Fd()).ok());
      } else if (const auto* ready = std::get_if<wire::Ready>(&heard->message)) {
        out.push_back(*ready);
        crew.hang_up();
      }
    }
  }
}

// The agent ends before it is ready if the descriptors are not as many as its welcome says.
TEST(Crew, AHostOfSeveralHandsOutTheWorldsArena) {
  const TestFolder folder;
  fs::create_directory(folder.path() / "logs");
  ::setenv(kFakeAgent, "all:train", 1);
  for (const bool hosted : {false, true}) {
    LaunchPlan plan;
    plan.program = fs::read_symlink("/proc/self/exe");
    plan.run_dir = folder.path();
    plan.hosted = hosted;
    auto crew = Crew::start(plan, 3);
    ASSERT_TRUE(crew.ok()) << crew.error().message;
    EXPECT_EQ(crew->files().world.valid(), hosted);
    EXPECT_EQ(crew->files().arenas.size(), 3U);
    const std::vector<wire::Ready> ready = live(*crew);
    ASSERT_EQ(ready.size(), 1U);
    EXPECT_EQ(ready.front().state_hash, hosted ? "hosted" : "s");
    EXPECT_EQ(crew->page()->agents[0].status.round.load(), 0U);
    EXPECT_EQ(crew->page()->agents[fabric::kWorld].published.load(), 0U);
  }
  ::unsetenv(kFakeAgent);
}

}  // namespace
}  // namespace instep::coord
