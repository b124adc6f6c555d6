#include "coord/display.h"

#include <gtest/gtest.h>

#include <array>

#include "base/utf8.h"

namespace instep::coord {
namespace {

using fabric::AgentState;

Picture picture() {
  Picture out;
  out.name = "mnist";
  out.epochs = 10;
  out.metric = "accuracy 0.97";
  out.samples_per_s = 41234.4;
  out.left = "about 75 s";
  AgentSnapshot agent;
  agent.state = AgentState::kTraining;
  agent.shards = 2;
  agent.round = 500;
  agent.rounds = 1250;
  agent.samples = 32000;
  agent.data_epoch = 4.005;
  agent.loss = 0.123456;
  agent.computing = 0.875;
  out.agents.assign(3, agent);
  out.agents[1].round = 499;
  out.agents[1].loss = 9;
  out.agents[1].shards = 1;
  out.agents[1].computing = 1;
  out.agents[2].computing.reset();
  out.agents.push_back({});
  out.agents.back().state = AgentState::kReady;
  return out;
}

TEST(Display, TheBlockSaysWhatAPersonWantsToKnow) {
  Picture shown = picture();
  shown.notice = "saving";
  const std::vector<std::string> expected = {
      "mnist  epoch 4/10  [#########---------------] 40%  round 500/1250",
      "  loss 0.1235  accuracy 0.97  41,234 samples/s  ETA about 75 s",
      "  saving",
      "  agent 0  training    2 shards  [#######-]  88% computing      32,000 samples",
      "  agent 1  training    1 shard   [########] 100% computing      32,000 samples",
      "  agent 2  training    2 shards                                 32,000 samples",
      "  agent 3  standing by"};
  EXPECT_EQ(render(shown, 200, 24), expected);
  for (const std::string& line : expected) EXPECT_LE(line.size(), 79U);
  EXPECT_EQ(plain(picture()),
            "epoch 4/10  round 500/1250  loss 0.1235  accuracy 0.97  41,234 samples/s  "
            "ETA about 75 s");
}

TEST(Display, NothingKnownYetIsNoNonsense) {
  Picture empty;
  empty.name = "x";
  empty.agents.resize(2);
  const std::vector<std::string> lines = render(empty, 200, 24);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[1], "  agent 0  starting");
  empty.agents[0].gone = true;
  EXPECT_EQ(render(empty, 200, 24)[1], "  agent 0  gone");
}

TEST(Display, AgentsForWhomThereIsNoRoomAreSummedUp) {
  Picture many = picture();
  many.agents.assign(64, many.agents[0]);
  many.agents[63].state = AgentState::kEvaluating;
  const std::vector<std::string> lines = render(many, 200, 8);
  ASSERT_EQ(lines.size(), 8U);
  EXPECT_EQ(lines[6].substr(0, 22), "  agent  4  training  ");
  EXPECT_EQ(lines[7], "  agents 5-62 training, 63 evaluating");
  EXPECT_EQ(render(many, 200, 66).back().substr(0, 22), "  agent 63  evaluating");
  for (int height = -1; height < 70; ++height) {
    EXPECT_LE(render(many, 80, height).size(), std::size_t(std::max(1, height)));
  }
  EXPECT_EQ(render(many, 200, 3)[2], "  agents 0-62 training, 63 evaluating");
}

// A terminal made narrower wraps what is on it; going up too little filled the screen with blocks.
TEST(Display, AWrappedBlockTakesMoreRows) {
  EXPECT_EQ(rows_on_screen({79, 40, 0, 20}, 80), 4);
  EXPECT_EQ(rows_on_screen({79, 40, 0, 20}, 40), 5);
  EXPECT_EQ(rows_on_screen({79, 40, 0, 20}, 20), 8);
}

// A line that wrapped made the next redraw start a line too low, so the screen filled with blocks.
TEST(Display, NoLineIsWiderThanTheTerminal) {
  for (int width = 1; width < 100; width += 7) {
    Picture wide = picture();
    wide.name = "漢字\x1b[2J";
    for (const std::string& line : render(wide, width, 24)) {
      EXPECT_LE(columns(line), width);
      EXPECT_EQ(line.find('\x1b'), std::string::npos);
    }
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

TEST(Words, Numbers) {
  EXPECT_EQ(with_thousands(0.4), "0");
  EXPECT_EQ(with_thousands(999), "999");
  EXPECT_EQ(with_thousands(1234567.8), "1,234,568");
}

}  // namespace
}  // namespace instep::coord
