#include "member/coordinator.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <deque>

#include "base/random.h"
#include "member/client.h"
#include "member/testing.h"

namespace instep::member {
namespace {

using Bytes = std::vector<std::byte>;

Rules rules() {
  Rules out;
  out.agents = 2;
  out.slots = 4;
  return out;
}

// A launcher and a coordinator with nothing between them but the words of parcels.h.
struct Pair {
  Client client;
  std::optional<Coordinator> coordinator;
  Bytes journal;
  Nanoseconds now = 0;
  std::vector<Action> done;
  Rules wanted = rules();

  explicit Pair(bool hosted = false) {
    wanted.hosted = hosted;
    const auto head = std::as_bytes(std::span(kJournalHead));
    journal.assign(head.begin(), head.end());
    begin();
  }
  void begin() {
    auto open = decode_for_coordinator(encode(client.open(wanted)));
    ASSERT_TRUE(open.ok()) << open.error().message;
    const auto& it = std::get<Open>(*open);
    auto found = read_journal(journal);
    ASSERT_TRUE(found.ok()) << found.error().message;
    if (it.again) {
      coordinator.emplace(*found->newest);
    } else {
      coordinator.emplace(it.rules);
    }
    coordinator->begin_generation(
        std::max(it.generation, found->newest ? found->newest->state.generation : 0));
    const auto replies = coordinator->open(it.heard, now);
    ASSERT_TRUE(replies.ok()) << replies.error().message;
    record();
    for (const Reply& reply : *replies) hear(reply);
    for (const Told& told : std::deque<Told>(client.untold())) give(told);
  }
  void record() {
    const Bytes entry = to_entry(coordinator->record());
    journal.insert(journal.end(), entry.begin(), entry.end());
  }
  Result<Reply> decide(const Told& told) {
    auto back = decode_for_coordinator(encode(told));
    EXPECT_TRUE(back.ok()) << back.error().message;
    return coordinator->take(std::get<Told>(std::move(*back)), now);
  }
  void give(const Told& told) {
    const auto reply = decide(told);
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    if (reply->number != 0) record();
    hear(*reply);
  }
  void hear(const Reply& reply) {
    const auto back = decode_reply(encode(reply));
    ASSERT_TRUE(back.ok()) << back.error().message;
    if (client.hear(*back, now))
      done.insert(done.end(), back->actions.begin(), back->actions.end());
  }
  void tell(Event event) { give(Told(client.tell(std::move(event)))); }
  std::size_t count(std::size_t kind) const {
    return std::size_t(std::count_if(done.begin(), done.end(),
                                     [kind](const Action& it) { return it.index() == kind; }));
  }
  void admit() {
    tell(Prepared{});
    for (const AgentId agent : {0, 1}) tell(Heard{agent, hello(agent)});
    for (const AgentId agent : {0, 1}) tell(Heard{agent, ready()});
  }
};
constexpr std::size_t kPublishes = 1, kStarts = 5, kHostReadies = 8;

TEST(Coordinator, ItsWordsCarryAllThatItDecides) {
  Pair pair;
  pair.admit();
  ASSERT_EQ(pair.count(kPublishes), 1U);
  const View& view = *pair.coordinator->record().state.view;
  for (const Action& action : pair.done) {
    const auto* published = std::get_if<Publish>(&action);
    if (published != nullptr) {
      EXPECT_EQ(published->view, view);
    }
  }
  EXPECT_EQ(view.epoch, (Epoch{1, 1}));
  EXPECT_EQ(pair.client.standing().phase, Phase::kRunning);
  EXPECT_EQ(pair.client.standing().members, view.members);
  EXPECT_TRUE(pair.client.observe_at());
  EXPECT_TRUE(pair.client.untold().empty());
}

TEST(Coordinator, TheNextOneGoesOnWhereTheJournalEnds) {
  Pair pair;
  pair.admit();
  const std::size_t before = pair.done.size();
  // It decided on a death, wrote that down, and died before anybody heard of it.
  const Told told = pair.client.tell(Exited{1, 0, SIGKILL, {}});
  ASSERT_TRUE(pair.decide(told).ok());
  pair.record();
  EXPECT_EQ(pair.done.size(), before);
  pair.begin();
  EXPECT_EQ(pair.count(kPublishes), 2U) << "the view without agent 1";
  EXPECT_EQ(pair.count(kStarts), 1U) << "its replacement";
  EXPECT_EQ(pair.coordinator->record().state.generation, 2U);
  EXPECT_EQ(pair.coordinator->record().state.view->epoch, (Epoch{1, 2}));
  // Or it died before it wrote: it is told again, and decides the same in its own generation.
  const Told other = pair.client.tell(Exited{0, 0, SIGKILL, {}});
  ASSERT_TRUE(pair.decide(other).ok());
  pair.begin();
  EXPECT_EQ(pair.coordinator->record().known, other.number);
  EXPECT_EQ(pair.coordinator->record().state.generation, 3U);
  EXPECT_FALSE(pair.coordinator->record().state.agents[0].alive);
}

TEST(Coordinator, TheNextOneKnowsOfASignal) {
  Pair pair;
  pair.admit();
  pair.tell(StopAsked{"stop", true, false});
  EXPECT_EQ(pair.client.standing().phase, Phase::kStopping);
  pair.begin();
  pair.tell(StopAsked{"stop", true, false});  // the second one kills
  EXPECT_GT(std::count_if(pair.done.begin(), pair.done.end(),
                          [](const Action& it) {
                            const auto* sent = std::get_if<Signal>(&it);
                            return sent != nullptr && sent->signal == SIGKILL;
                          }),
            0);
}

TEST(Coordinator, TheNextOneKnowsTheHostsShards) {
  Pair pair(true);
  pair.admit();
  EXPECT_EQ(pair.count(kHostReadies), 1U);
  EXPECT_EQ(pair.count(kPublishes), 0U);
  pair.tell(Adopted{{2, 3, 6}, 3});
  EXPECT_EQ(pair.count(kPublishes), 1U);
  pair.begin();
  pair.tell(Exited{1, 0, SIGKILL, {}});
  EXPECT_EQ(pair.count(kPublishes), 2U);
  EXPECT_EQ(shards_here(*pair.coordinator->record().state.view),
            (std::vector<std::uint32_t>{2, 3, 6}));
  EXPECT_EQ(pair.count(kHostReadies), 1U);
}

TEST(Coordinator, WhatIsSaidTwiceIsDoneOnce) {
  Pair pair;
  pair.admit();
  const Told told = pair.client.tell(Exited{1, 0, SIGKILL, {}});
  const auto reply = pair.decide(told);
  ASSERT_TRUE(reply.ok());
  const auto again = pair.decide(told);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->number, 0U);
  EXPECT_TRUE(again->actions.empty());
  pair.hear(*reply);
  const std::size_t done = pair.done.size();
  pair.hear(*reply);
  EXPECT_EQ(pair.done.size(), done);
}

TEST(Coordinator, AJournalThatIsBehindIsNoGroundToGoOn) {
  Pair pair;
  pair.admit();
  const Bytes old = pair.journal;
  pair.tell(Exited{1, 0, SIGKILL, {}});
  auto found = read_journal(old);
  ASSERT_TRUE(found.ok() && found->newest);
  Coordinator behind(*found->newest);
  const auto opened = behind.open(pair.client.heard(), 0);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().kind, ErrorKind::kUnavailable);
  const auto taken = behind.take({pair.client.told() + 1, 0, Prepared{}}, 0);
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().kind, ErrorKind::kUnavailable);
}

TEST(Journal, EndsWhereAnEntryIsNotWhole) {
  Pair pair;
  pair.admit();
  const Bytes whole = pair.journal;
  const Bytes entry = to_entry(pair.coordinator->record());
  for (std::size_t cut = 0; cut < entry.size(); ++cut) {
    Bytes torn = whole;
    torn.insert(torn.end(), entry.begin(), entry.begin() + std::ptrdiff_t(cut));
    const auto journal = read_journal(torn);
    ASSERT_TRUE(journal.ok()) << journal.error().message;
    ASSERT_EQ(journal->whole, whole.size());
    ASSERT_EQ(journal->newest->known, 5U);
  }
  // A bit that has changed is as good as the end.
  Random random(1);
  for (int i = 0; i < 200; ++i) {
    Bytes damaged = whole;
    const std::size_t at = kJournalHead.size() + random.below(whole.size() - kJournalHead.size());
    damaged[at] ^= std::byte(1U << random.below(8));
    const auto journal = read_journal(damaged);
    ASSERT_TRUE(journal.ok()) << journal.error().message;
    EXPECT_LE(journal->whole, at);
  }
  for (std::size_t cut = 0; cut <= kJournalHead.size(); ++cut) {
    const auto journal = read_journal(std::span(whole).first(cut));
    ASSERT_TRUE(journal.ok());
    EXPECT_FALSE(journal->newest);
  }
  const std::string other = "[something else entirely]";
  EXPECT_FALSE(read_journal(std::as_bytes(std::span(other))).ok());
}

TEST(Parcels, DamagedOnesNeverCrash) {
  Random random(3);
  Pair pair;
  pair.admit();
  const std::vector<Bytes> good = {encode(Open{}), encode(Told{1, 2, Exited{1, 0, 9, {}}}),
                                   encode(Told{1, 2, Heard{0, ready()}}),
                                   encode(Told{0, 2, Observed{{Words{}, Words{}}}}),
                                   encode(pair.coordinator->record().unheard.back())};
  for (int i = 0; i < 20'000; ++i) {
    Bytes damaged = good[random.below(good.size())];
    if (random.below(4) == 0) damaged.resize(random.below(damaged.size()));
    for (std::uint64_t hits = random.below(4); hits > 0 && !damaged.empty(); --hits) {
      damaged[random.below(damaged.size())] = std::byte(random.below(256));
    }
    (void)decode_for_coordinator(damaged).ok();
    (void)decode_reply(damaged).ok();
  }
  const Bytes deep(1 << 20, std::byte{0x81});
  EXPECT_FALSE(decode_reply(deep).ok());
}

}  // namespace
}  // namespace instep::member
