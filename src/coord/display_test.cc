#include "coord/display.h"

#include <gtest/gtest.h>

#include <array>

namespace instep::coord {
namespace {

using fabric::AgentState;

Picture picture() {
  Picture out;
  out.name = "mnist";
  out.epochs = 10;
  out.metric = "accuracy 0.97";
  out.samples_per_s = 41234.4;
  out.rounds_per_s = 10;
  AgentSnapshot agent;
  agent.state = AgentState::kTraining;
  agent.shards = 2;
  agent.round = 500;
  agent.rounds = 1250;
  agent.data_epoch = 4.005;
  agent.loss = 0.123456;
  out.agents.assign(3, agent);
  out.agents[1].round = 499;
  out.agents[1].loss = 9;
  out.agents.push_back({});
  out.agents.back().state = AgentState::kReady;
  return out;
}

TEST(Display, TheBlockSaysWhatAPersonWantsToKnow) {
  Picture shown = picture();
  shown.notice = "saving";
  const std::vector<std::string> lines = render(shown, 200);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0], "mnist  epoch 4/10  [#########---------------] 40%  round 500/1250");
  EXPECT_EQ(lines[1], "  loss 0.1235  accuracy 0.97  41,234 samples/s  ETA 1:15");
  EXPECT_EQ(lines[2], "  agents: 0-2 training, 3 standing by");
  EXPECT_EQ(lines[3], "  saving");
  EXPECT_EQ(plain(picture()),
            "epoch 4/10  round 500/1250  loss 0.1235  accuracy 0.97  41,234 samples/s  ETA 1:15");
}

TEST(Display, NothingKnownYetIsNoNonsense) {
  Picture empty;
  empty.name = "x";
  empty.agents.resize(2);
  const std::vector<std::string> lines = render(empty, 200);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1], "  agents: 0-1 starting");
  empty.agents[0].gone = true;
  EXPECT_EQ(render(empty, 200)[1], "  agents: 0 gone, 1 starting");
}

// A line that wrapped made the next redraw start a line too low, so the screen filled with blocks.
TEST(Display, NoLineIsWiderThanTheTerminal) {
  for (int width = 1; width < 100; width += 7) {
    for (const std::string& line : render(picture(), width))
      EXPECT_LE(line.size(), std::size_t(width));
  }
}

TEST(Display, APipeGetsPlainLinesAndQuietNone) {
  for (const bool quiet : {false, true}) {
    std::FILE* file = std::tmpfile();
    {
      Display display(file, quiet);
      EXPECT_FALSE(display.live());
      display.draw(picture());
      display.line("hello");
    }
    ASSERT_EQ(std::fseek(file, 0, SEEK_SET), 0);
    std::array<char, 100> text{};
    const std::size_t got = std::fread(text.data(), 1, text.size(), file);
    EXPECT_EQ(std::string(text.data(), got), quiet ? "" : "hello\n");
    std::fclose(file);
  }
}

TEST(Rate, FollowsAndSmooths) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  Rate rate;
  EXPECT_EQ(rate.update(0, 0), 0);
  EXPECT_EQ(rate.update(0, kSecond), 0);  // nothing has begun: no rate of 0 to climb from
  EXPECT_DOUBLE_EQ(rate.update(100, 2 * kSecond), 100);
  const double faster = rate.update(300, 3 * kSecond);
  EXPECT_GT(faster, 100);
  EXPECT_LT(faster, 200);
  EXPECT_LT(rate.update(300, 4 * kSecond), faster);
  EXPECT_GE(rate.update(200, 5 * kSecond), 0);  // a total that falls is no negative rate
}

TEST(Words, Numbers) {
  EXPECT_EQ(with_thousands(0.4), "0");
  EXPECT_EQ(with_thousands(999), "999");
  EXPECT_EQ(with_thousands(1234567.8), "1,234,568");
  EXPECT_EQ(duration(0), "0:00");
  EXPECT_EQ(duration(3725), "1:02:05");
  EXPECT_EQ(duration(-5), "0:00");
}

}  // namespace
}  // namespace instep::coord
