#include "round/relay.h"

#include <gtest/gtest.h>

#include "round/testing_relay.h"

namespace instep::round {
namespace {

using MakeJob = RelayJob (*)(Random& random, std::uint32_t least);

void check_sums(MakeJob make, std::uint64_t seeds) {
  std::uint64_t early = 0, ahead = 0;
  for (std::uint64_t seed = 0; seed < seeds && !testing::Test::HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const RelayJob job = make(random, 1);
    const auto hosts = 1 + static_cast<std::uint32_t>(random.below(std::min(5U, job.shards)));
    RelayCluster cluster(job, hosts, random);
    cluster.line(1, up_to(hosts), 0, std::nullopt);
    cluster.run(4);
    early += cluster.early;
    ahead += cluster.ahead;
  }
  EXPECT_GT(early, 1000U);
  EXPECT_GT(ahead, 300U);
}

TEST(Relay, SumsEqualTheSerialOnesInAnyOrderOfArrival) { check_sums(make_job, 300); }
TEST(Relay, PackedSumsEqualTheSerialOnesInAnyOrderOfArrival) { check_sums(make_coded_job, 300); }

// A host is lost at any moment; the others go on with the round that none of them has completed,
// and who lacks the one before gets it from one that has it.
void check_losses(MakeJob make, std::uint64_t seeds) {
  std::uint64_t behind = 0, kept = 0;
  for (std::uint64_t seed = 0; seed < seeds && !testing::Test::HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const RelayJob job = make(random, 2);
    const auto hosts = 2 + static_cast<std::uint32_t>(random.below(std::min(4U, job.shards - 1)));
    RelayCluster cluster(job, hosts, random);
    cluster.line(1, up_to(hosts), 0, std::nullopt);
    cluster.run(4, random.below(800));
    std::vector<std::uint32_t> left = up_to(hosts);
    const std::size_t lost = 1 + random.below(hosts - 1);
    cluster.lose(left[lost]);
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(lost));
    std::uint64_t first = 0;
    std::optional<std::uint32_t> donor;
    for (const std::uint32_t id : left) {
      const std::uint64_t done = cluster.host(id).world().done(0);
      if (done > first) donor = id;
      first = std::max(first, done);
    }
    for (const std::uint32_t id : left) {
      const std::uint64_t done = cluster.host(id).world().done(0);
      ASSERT_LE(first - done, 1U);
      if (done < first) ++behind;
    }
    ++cluster.lines;
    cluster.line(2, left, first, donor);
    cluster.run(5);
    kept += cluster.kept;
  }
  EXPECT_GT(behind, 20U);
  EXPECT_GT(kept, 1000U);
}

TEST(Relay, GoesOnWithoutALostHost) { check_losses(make_job, 400); }
TEST(Relay, GoesOnWithoutALostHostWhenSumsArePacked) { check_losses(make_coded_job, 400); }

TEST(Relay, ThePartThatItPublishesIsRead) {
  Random random(4);
  const RelayJob job = make_job(random, 2);
  RelayCluster cluster(job, 2, random);
  cluster.line(1, up_to(2), 0, std::nullopt);
  cluster.run(1);
  RelayNode& host = cluster.host(1);
  for (const fabric::Ticket ticket : {fabric::ticket(1, 1), fabric::ticket(2, 1)}) {
    host.world().publish(ticket, 0);
    EXPECT_EQ(host.words().published.load(), ticket);
    const auto part = find_part(host.words(), host.arena(), ticket);
    ASSERT_TRUE(part.ok() && *part);
    EXPECT_EQ((*part)->round, 0U);
    EXPECT_EQ((*part)->rows.size(), job.shards);
    EXPECT_EQ((*part)->nodes.size(), job.targets.size());
  }
}

// Two hosts with two shards each, which are the nodes of the coding, and what a round sends.
std::uint64_t bytes_of_a_round(reduce::Codec codec) {
  Random random(1);
  RelayJob job;
  job.shards = 4;
  job.tensors = {{0, 150'000}, {150'016, 60'000}};
  job.elements = 206 * reduce::kBlockElements;
  job.targets = {{0, 4}};
  job.coding.codec = codec;
  job.coding.nodes = {{0, 2}, {2, 2}};
  RelayCluster cluster(job, 2, random);
  const std::uint64_t half = job.elements / 2;
  cluster.line(1, {{0, {0, 1}, {0, half}}, {1, {2, 3}, {half, half}}}, 0, std::nullopt);
  cluster.run(1);
  return cluster.net().bytes;
}

TEST(Relay, ACodecSendsLess) {
  const auto none = static_cast<double>(bytes_of_a_round(reduce::Codec::kNone));
  EXPECT_GT(none, 2 * 206 * 1024 * sizeof(float));
  EXPECT_LE(static_cast<double>(bytes_of_a_round(reduce::Codec::kBf16)), 0.51 * none);
  EXPECT_LE(static_cast<double>(bytes_of_a_round(reduce::Codec::kInt8)), 0.26 * none);
}

class RelayProtocol : public testing::Test {
 protected:
  RelayProtocol() : job_(make()), cluster_(job_, 2, random_) {
    cluster_.line(3, up_to(2), 0, std::nullopt);
  }
  RelayJob make() {
    RelayJob job;
    job.shards = 2;
    job.tensors = {{0, 4096}};
    job.elements = 4096;
    job.targets = {{0, 2}};
    return job;
  }
  bool accepts(RelayFrame frame, std::uint32_t from = 1) {
    return cluster_.relays()[0]->place(from, frame).ok();
  }

  Random random_{1};
  RelayJob job_;
  RelayCluster cluster_;
};

TEST_F(RelayProtocol, RefusesWhatIsOutOfTurn) {
  using Kind = RelayFrame::Kind;
  EXPECT_FALSE(accepts({Kind::kWhole, 4096, 3, 0, 0, 0}));   // of a round that I have not begun
  EXPECT_FALSE(accepts({Kind::kHead, 64, 3, 0, 1, 0}));      // of the round after
  EXPECT_FALSE(accepts({Kind::kHead, 64, 4, 0, 0, 0}));      // of a line-up to come
  EXPECT_FALSE(accepts({Kind::kHead, 64, 3, 0, 0, 0}, 7));   // of a stranger
  EXPECT_FALSE(accepts({Kind::kWant, 0, 3, 0, ~0ULL, 0}));   // nothing is there
  EXPECT_FALSE(accepts({Kind::kRows, 64, 3, 0, ~0ULL, 0}));  // nobody asked
  EXPECT_FALSE(accepts({static_cast<Kind>(99), 0, 3, 0, 0, 0}));
  EXPECT_TRUE(accepts({Kind::kSums, 4096, 2, 0, 0, 0}));  // of an earlier line-up: forgotten
  EXPECT_TRUE(accepts({Kind::kHead, 64, 3, 0, 0, 0}));
}

// Two chunks, the second one first, before the sender's head.
TEST_F(RelayProtocol, TakesSumsInAnyOrderOnce) {
  using Kind = RelayFrame::Kind;
  RelayJob job;
  job.shards = 2;
  job.elements = kChunkElements + 1024;
  job.tensors = {{0, job.elements}};
  job.targets = {{0, 2}};
  RelayCluster cluster(job, 2, random_);
  cluster.line(3, {{0, {0}, {0, job.elements}}, {1, {1}, {job.elements, 0}}}, 0, std::nullopt);
  Relay& relay = *cluster.relays()[0];
  const RelayFrame second{Kind::kSums, 4096, 3, 0, 0, kChunkElements};
  EXPECT_FALSE(relay.place(1, {Kind::kSums, 4096, 3, 0, 0, kChunkElements - 1024}).ok());
  EXPECT_FALSE(relay.place(1, {Kind::kSums, 4096, 3, 0, 0, job.elements}).ok());
  EXPECT_FALSE(relay.place(1, {Kind::kSums, 4096, 3, 1, 0, kChunkElements}).ok());
  EXPECT_FALSE(relay.place(1, {Kind::kSums, 4096, 3, 0, 1, kChunkElements}).ok());
  ASSERT_TRUE(relay.place(1, second).ok());
  ASSERT_TRUE(relay.took(1, second).ok());
  EXPECT_FALSE(relay.place(1, second).ok());
  EXPECT_TRUE(relay.place(1, {Kind::kSums, kChunkElements * 4, 3, 0, 0, 0}).ok());
  EXPECT_FALSE(relay.place(1, {Kind::kHead, 64, 3, 0, 1, 0}).ok());  // the next round's
  EXPECT_TRUE(relay.place(1, {Kind::kHead, 64, 3, 0, 0, 0}).ok());
}

TEST(RelayPackedProtocol, RefusesSumsOfAnotherSize) {
  Random random(1);
  RelayJob job;
  job.shards = 3;
  job.tensors = {{0, 1000}, {1008, 8}};
  job.elements = 1024;
  job.targets = {{0, 3}};
  job.coding = {reduce::Codec::kBf16, {{0, 2}, {2, 1}}, 0};
  RelayCluster cluster(job, 2, random);
  cluster.line(1, {{0, {0}, {0, 1024}}, {1, {1, 2}, {1024, 0}}}, 0, std::nullopt);
  auto& relays = cluster.relays();
  ASSERT_TRUE(relays[1]->begin(0, cluster.host(1).parts(0, {1, 2}, random), 1).ok());
  const RelayNet::Sent head = cluster.net().links[{1, 0}].front();
  const auto place = relays[0]->place(1, head.frame);
  ASSERT_TRUE(place.ok());
  std::memcpy(place->data(), head.payload.data(), head.payload.size());
  ASSERT_TRUE(relays[0]->took(1, head.frame).ok());
  // Half of a node as it is, and a whole one encoded; neither with the padding.
  const auto accepts = [&](std::uint32_t index, std::uint32_t bytes) {
    return relays[0]->place(1, {RelayFrame::Kind::kSums, bytes, 1, index, 0, 0}).ok();
  };
  EXPECT_FALSE(accepts(0, 1024 * 4));
  EXPECT_FALSE(accepts(0, 1008 * 2));
  EXPECT_TRUE(accepts(0, 1008 * 4));
  EXPECT_FALSE(accepts(1, 1008 * 4));
  EXPECT_FALSE(accepts(1, 1008 * 2 + 1));
  EXPECT_TRUE(accepts(1, 1008 * 2));
}

TEST_F(RelayProtocol, RefusesAHeadThatDoesNotFit) {
  const RelayFrame frame{RelayFrame::Kind::kHead, 10, 3, 0, 0, 0};
  ASSERT_TRUE(accepts(frame));
  const Status took = cluster_.relays()[0]->took(1, frame);
  ASSERT_FALSE(took.ok());
  EXPECT_EQ(took.error().kind, ErrorKind::kCorrupt);
}

// A host whose head is malformed, while the others go on sending until a line-up without it comes.
class RelayBadHead : public testing::Test {
 protected:
  RelayBadHead() : job_(make()), cluster_(job_, 3, random_) {
    cluster_.line(1, {{0, {0}, {0, 1024}}, {1, {1}, {1024, 0}}, {2, {2}, {1024, 1024}}}, 0,
                  std::nullopt);
    for (auto& [id, relay] : cluster_.relays()) {
      EXPECT_TRUE(relay->begin(0, cluster_.host(id).parts(0, {id}, random_), 5).ok());
      while (relay->step()) {
      }
    }
  }
  RelayJob make() {
    RelayJob job;
    job.shards = 3;
    job.tensors = {{0, 2048}};
    job.elements = 2048;
    job.targets = {{0, 3}};
    return job;
  }
  Relay& relay(std::uint32_t id) { return *cluster_.relays()[id]; }
  std::deque<RelayNet::Sent>& link(std::uint32_t from, std::uint32_t to) {
    return cluster_.net().links[{from, to}];
  }
  // All that it has sent, or all before the first of that kind.
  void deliver(std::uint32_t from, std::uint32_t to, std::optional<RelayFrame::Kind> before = {}) {
    while (!link(from, to).empty() && link(from, to).front().frame.kind != before) {
      cluster_.net().depart({from, to}, relay(to));
      cluster_.net().arrive({from, to}, relay(to));
    }
  }
  void bad_head_of(std::uint64_t round) {
    const RelayFrame head{RelayFrame::Kind::kHead, 10, 1, 0, round, 0};
    ASSERT_TRUE(relay(0).place(1, head).ok());
    EXPECT_FALSE(relay(0).took(1, head).ok());
  }

  Random random_{1};
  RelayJob job_;
  RelayCluster cluster_;
};

TEST_F(RelayBadHead, NothingIsMadeOfTheRoundThatItIsOf) {
  bad_head_of(0);
  link(1, 0).pop_front();  // the good one
  for (const RelayNet::Link it : {std::pair(1, 0), {0, 2}, {1, 2}, {2, 0}}) {
    deliver(it.first, it.second);
  }
  EXPECT_EQ(cluster_.host(0).world().known(0), nullptr);
  EXPECT_EQ(relay(0).completed(), std::nullopt);
}

// The launcher of each other host died of it.
TEST_F(RelayBadHead, TheRoundBeforeIsCompleted) {
  for (const RelayNet::Link it : {std::pair(1, 0), {0, 2}, {1, 2}}) deliver(it.first, it.second);
  deliver(2, 0, RelayFrame::Kind::kWhole);
  ASSERT_FALSE(link(2, 0).empty());
  bad_head_of(1);
  deliver(2, 0);
  EXPECT_EQ(relay(0).completed(), 0U);
  expect_whole(job_, cluster_.host(0), 0);
}

TEST_F(RelayProtocol, NamesHostsWhoseStatesDiffer) {
  auto& relays = cluster_.relays();
  ASSERT_TRUE(relays[1]->begin(0, cluster_.host(1).parts(0, {1}, random_), 1).ok());
  ASSERT_TRUE(relays[0]->begin(0, cluster_.host(0).parts(0, {0}, random_), 2).ok());
  const RelayNet::Sent head = cluster_.net().links[{1, 0}].front();
  const auto place = relays[0]->place(1, head.frame);
  ASSERT_TRUE(place.ok());
  std::memcpy(place->data(), head.payload.data(), head.payload.size());
  const Status took = relays[0]->took(1, head.frame);
  ASSERT_FALSE(took.ok());
  EXPECT_EQ(took.error().kind, ErrorKind::kDamaged);
  EXPECT_NE(took.error().message.find("hosts 0 and 1"), std::string::npos);
}

}  // namespace
}  // namespace instep::round
