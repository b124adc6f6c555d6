#include <gtest/gtest.h>

#include "coord/drill.h"

namespace instep::coord {
namespace {

TEST(FaultText, IsReadAndWritten) {
  const auto faults = parse_faults(
      "kill 2 at 100; hang 1 at 200 for 5s; slow 3 by 3x at 50;join at 300;\n"
      " leave 0 at 400 ; flip at 120; kill coordinator at 9; hang coordinator for 5s at 9");
  ASSERT_TRUE(faults.ok()) << faults.error().message;
  std::string text;
  for (const Fault& fault : *faults) text += to_text(fault) + "|";
  EXPECT_EQ(text,
            "kill 2 at 100|hang 1 at 200 for 5s|slow 3 by 3x at 50|join at 300|leave 0 at 400|"
            "flip at 120|kill coordinator at 9|hang coordinator at 9 for 5s|");
  EXPECT_EQ((*faults)[1].lasts_ns, 5'000'000'000);
  EXPECT_EQ((*faults)[2].factor, 3.0);
  EXPECT_EQ((*faults)[2].agent, 3);
  EXPECT_EQ((*faults)[5].round, 120U);
  EXPECT_EQ((*faults)[6].agent, kTheCoordinator);
}

TEST(FaultText, ClausesComeInAnyOrderAndFaultsTwice) {
  EXPECT_EQ(*parse_faults("hang 1 for 250ms at 2"), *parse_faults("hang 1 at 2 for 0.25s"));
  EXPECT_EQ(parse_faults("hang 1 for 2min at 0")->front().lasts_ns, 120'000'000'000);
  EXPECT_EQ(parse_faults("kill 1 at 2; kill 1 at 2")->size(), 2U);
  EXPECT_EQ(parse_faults("slow 0 at 1 by 1.5x")->front().factor, 1.5);
}

struct Bad {
  std::string text;
  std::vector<std::string> parts;  // of the error, in order
};

template <class Parse>
void refused(const Parse& parse, const Bad& bad) {
  const auto read = parse(bad.text);
  ASSERT_FALSE(read.ok()) << bad.text;
  EXPECT_EQ(read.error().kind, ErrorKind::kInvalid);
  const std::string& message = read.error().message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_LT(message.size(), 300U);
  std::size_t at = 0;
  for (const std::string& part : bad.parts) {
    at = message.find(part, at);
    ASSERT_NE(at, std::string::npos) << part << " not in: " << message;
  }
}

TEST(FaultText, MistakesNameTheirPlaceAndWhatIsAllowed) {
  const std::string much(70'000, ' ');
  std::string many;
  for (int i = 0; i < 1001; ++i) many += "join at 1;";
  const std::vector<Bad> cases = {
      {"", {"--fault: part 1 is empty", "kill 2 at 100"}},
      {"join at 1;;join at 2", {"part 2 is empty"}},
      {"join at 1; kil 2 at 3", {"part 2, 'kil 2 at 3'", "'kil'", "kill, hang,", "'kill'?"}},
      {"explode", {"part 1", "found 'explode'", "kill, hang, slow, join, leave, flip"}},
      {"kill", {"found nothing", "0 to 63"}},
      {"kill 64 at 1", {"found '64'", "0 to 63"}},
      {"kill -1 at 1", {"found '-1'", "0 to 63"}},
      {"kill all at 1", {"found 'all'", "0 to 63", "'kill 2 at 100'"}},
      {"kill coordinator 1 at 1", {"found '1'", "kill AGENT at ROUND"}},
      {"slow coordinator by 3x at 1", {"found 'coordinator'", "0 to 63"}},
      {"leave coordinator at 1", {"found 'coordinator'", "0 to 63"}},
      {"kill 1", {"lacks the round: at ROUND", "'kill 2 at 100'"}},
      {"kill 1 at", {"found nothing", "a round, 0 to"}},
      {"kill 1 at -5", {"found '-5'", "a round"}},
      {"kill 1 at 5.5", {"found '5.5'", "a round"}},
      {"kill 1 at 99999999999999999999", {"a round, 0 to 1000000000000"}},
      {"kill 1 at 5 at 6", {"'at' stands there twice"}},
      {"kill 1 at 5 for 2s", {"found 'for'", "allowed: kill AGENT at ROUND"}},
      {"join 3 at 5", {"found '3'", "allowed: join at ROUND"}},
      {"flip on 5", {"found 'on'", "flip at ROUND"}},
      {"hang 1 at 5", {"lacks the time: for TIME", "'hang 1 at 200 for 5s'"}},
      {"hang 1 at 5 for 5", {"found '5'", "1ms to 86400s"}},
      {"hang 1 at 5 for 0s", {"found '0s'", "1ms to 86400s"}},
      {"hang 1 at 5 for nans", {"found 'nans'"}},
      {"hang 1 at 5 for infs", {"found 'infs'"}},
      {"hang 1 at 5 for -1s", {"found '-1s'"}},
      {"hang 1 at 5 for 1e9min", {"found '1e9min'"}},
      {"slow 1 at 5", {"lacks the factor: by FACTOR"}},
      {"slow 1 by 3 at 5", {"found '3'", "above 1x, at most 100x"}},
      {"slow 1 by 1x at 5", {"found '1x'"}},
      {"slow 1 by 101x at 5", {"found '101x'"}},
      {"slow 1 by nanx at 5", {"found 'nanx'"}},
      {"slow 1 by x at 5", {"found 'x'"}},
      {"kill\x01"
       "2 at 1",
       {"found 'kill?2'"}},
      {std::string(500, 'a'), {"aaa…'"}},
      {much, {"70000 bytes"}},
      {many, {"1001 faults; allowed: at most 1000"}},
  };
  for (const Bad& bad : cases) refused(parse_faults, bad);
}

TEST(ChaosText, IsRead) {
  const auto chaos = parse_chaos("mtbf=2s,seed=7");
  ASSERT_TRUE(chaos.ok()) << chaos.error().message;
  EXPECT_EQ(chaos->mtbf_ns, 2'000'000'000);
  EXPECT_EQ(chaos->seed, 7U);
  EXPECT_EQ(chaos->kinds.size(), 4U);
  const auto other = parse_chaos(" kinds=leave+kill+kill , mtbf = 500ms");
  ASSERT_TRUE(other.ok()) << other.error().message;
  EXPECT_EQ(other->kinds, (std::vector<FaultKind>{FaultKind::kLeave, FaultKind::kKill}));
  EXPECT_EQ(other->seed, 1U);
}

TEST(ChaosText, MistakesNameTheirKeyAndWhatIsAllowed) {
  const std::vector<Bad> cases = {
      {"", {"--chaos: found nothing", "mtbf=TIME, seed=NUMBER, kinds=KIND+KIND"}},
      {"seed=7", {"'seed=7' lacks the mean time", "mtbf=2s"}},
      {"mtfb=2s", {"found 'mtfb'", "did you mean 'mtbf'?"}},
      {"mtbf=2s,,seed=7", {"found nothing"}},
      {"mtbf=2", {"mtbf: found '2'", "10ms to 86400s"}},
      {"mtbf", {"mtbf: found nothing"}},
      {"mtbf=0s", {"mtbf: found '0s'"}},
      {"mtbf=9ms", {"mtbf: found '9ms'"}},
      {"mtbf=2s,mtbf=3s", {"mtbf stands there twice"}},
      {"mtbf=2s,seed=-1", {"seed: found '-1'"}},
      {"mtbf=2s,seed=x", {"seed: found 'x'"}},
      {"mtbf=2s,kinds=", {"kinds: found nothing", "kill, hang, join, leave"}},
      {"mtbf=2s,kinds=kill+flip", {"kinds: found 'flip'", "kill, hang, join, leave"}},
      {"mtbf=2s;seed=7", {"mtbf: found '2s;seed=7'"}},
  };
  for (const Bad& bad : cases) refused(parse_chaos, bad);
}

}  // namespace
}  // namespace instep::coord
